%% Runs scripts on OTP's own supervisor and writes what it did: the other half
%% of otp_test.go, which describes the scripts and makes the same lines.
-module(otp).
-behaviour(supervisor).
-export([main/2, init/1, start_worker/2, start_nested/2, start_gate/4]).

%% main runs all scripts of the file In and writes their traces to Out.
main(In, Out) ->
    ok = logger:set_primary_config(level, none),
    {ok, Scripts} = file:consult(In),
    {ok, File} = file:open(Out, [write, raw, delayed_write]),
    lists:foreach(fun(Script) -> ok = file:write(File, trace(Script)) end, Scripts),
    ok = file:close(File).

%% trace runs one script in a process of its own, the parent of its root.
trace({script, Seed, Root, Steps}) ->
    {Pid, Mon} = spawn_monitor(fun() -> exit({lines, run(Root, Steps)}) end),
    receive
        {'DOWN', Mon, process, Pid, {lines, Lines}} ->
            [io_lib:format("#~w~n", [Seed]), [[L, $\n] || L <- Lines]];
        {'DOWN', Mon, process, Pid, Why} ->
            [io_lib:format("#~w~nthe script failed: ~0p~n", [Seed, Why])]
    end.

run(Root, Steps) ->
    process_flag(trap_exit, true),
    Table = ets:new(table, [ordered_set, public]),
    case supervisor:start_link(?MODULE, {Table, [], Root}) of
        {ok, Pid} ->
            First = told(Table) ++ [tree(Pid)],
            First ++ lists:append([step(Table, Pid, S) || S <- Steps]);
        {error, _} ->
            told(Table) ++ ["root failed"]
    end.

%% step does one step and tells what happened in it, and what is there then.
step(Table, Root, Step) ->
    [io_lib:format("~0p", [Step])] ++ do(Table, Root, Step) ++ told(Table) ++ [tree(Root)].

do(_Table, Root, shutdown) ->
    Mon = monitor(process, Root),
    exit(Root, shutdown),
    receive {'DOWN', Mon, process, Root, _} -> [] end;
do(Table, _Root, Step) ->
    Path = element(2, Step),
    Sups = lineage(Table, Path),
    case is_pid(hd(Sups)) andalso is_process_alive(hd(Sups)) of
        true ->
            {Lines, Dead} = act(Table, hd(Sups), Path, Step),
            settle(Sups, Dead),
            Lines;
        false ->
            ["no supervisor"]
    end.

%% lineage is the supervisor of a path and those above it.
lineage(Table, Path) ->
    Pid = case ets:lookup(Table, {sup, Path}) of
              [{_, P}] -> P;
              [] -> none
          end,
    case Path of
        [] -> [Pid];
        _ -> [Pid | lineage(Table, lists:droplast(Path))]
    end.

%% settle waits until a supervisor has noticed these deaths and has no restart
%% left to try; if it has ended, until the one above has noticed that.
settle([], _Dead) ->
    ok;
settle([Sup | Above], Dead) ->
    try supervisor:which_children(Sup) of
        Children ->
            Pending = [C || {_, C, _, _} <- Children, C =:= restarting orelse lists:member(C, Dead)],
            case Pending of
                [] -> ok;
                _ -> erlang:yield(), settle([Sup | Above], Dead)
            end
    catch
        exit:_ -> settle(Above, [Sup])
    end.

act(Table, _Sup, Path, {exit, _, Id, Reason}) ->
    case kill(Table, Path, Id, Reason) of
        none -> {["no child"], []};
        Pid -> {[], [Pid]}
    end;
act(Table, Sup, Path, {batch, _, Id, Fails, Steps}) ->
    Self = self(),
    Gate = spawn_monitor(fun() -> exit({result, call(Table, Sup, Path, {gate, Path, Id, Self, Fails})}) end),
    Keeper = receive {gate, Pid} -> Pid end,
    {Calls, Dead} = queue(Table, Sup, Path, Steps, [], []),
    Keeper ! go,
    {[result(C) || C <- [Gate | Calls]], Dead};
act(Table, Sup, Path, Step) ->
    {[call(Table, Sup, Path, Step)], []}.

%% queue puts one message after the other into the mailbox of a supervisor
%% whose gate is shut.
queue(_Table, _Sup, _Path, [], Calls, Dead) ->
    {lists:reverse(Calls), Dead};
queue(Table, Sup, Path, [{exit, _, Id, Reason} | Steps], Calls, Dead) ->
    Before = waiting(Sup),
    case kill(Table, Path, Id, Reason) of
        none ->
            queue(Table, Sup, Path, Steps, [none | Calls], Dead);
        Pid ->
            arrived(Sup, Before + 1),
            queue(Table, Sup, Path, Steps, Calls, [Pid | Dead])
    end;
queue(Table, Sup, Path, [Step | Steps], Calls, Dead) ->
    Before = waiting(Sup),
    Call = spawn_monitor(fun() -> exit({result, call(Table, Sup, Path, Step)}) end),
    arrived(Sup, Before + 1),
    queue(Table, Sup, Path, Steps, [Call | Calls], Dead).

waiting(Sup) ->
    {message_queue_len, N} = process_info(Sup, message_queue_len),
    N.

arrived(Sup, N) ->
    case waiting(Sup) of
        N -> ok;
        _ -> erlang:yield(), arrived(Sup, N)
    end.

result(none) -> "no child";
result({Pid, Mon}) -> receive {'DOWN', Mon, process, Pid, {result, Line}} -> Line end.

%% kill ends a worker and returns when it is dead.
kill(Table, Path, Id, Reason) ->
    case ets:lookup(Table, {worker, Path, Id}) of
        [{_, Pid}] ->
            Mon = monitor(process, Pid),
            Pid ! {exit, Reason},
            receive
                {'DOWN', Mon, process, Pid, noproc} -> none;
                {'DOWN', Mon, process, Pid, _} -> Pid
            end;
        [] ->
            none
    end.

%% call makes one call and tells its result as a line.
call(Table, Sup, Path, Step) ->
    try
        case Step of
            {start, _, Spec} -> started(supervisor:start_child(Sup, child(Table, Path, Spec)));
            {gate, _, Id, Keeper, Fails} -> started(supervisor:start_child(Sup, gate(Table, Path, Id, Keeper, Fails)));
            {terminate, _, Id} -> done(supervisor:terminate_child(Sup, Id));
            {restart, _, Id} -> done(supervisor:restart_child(Sup, Id));
            {delete, _, Id} -> done(supervisor:delete_child(Sup, Id));
            {which, _} -> which(supervisor:which_children(Sup));
            {count, _} -> count(supervisor:count_children(Sup))
        end
    catch
        exit:_ -> "ended"
    end.

started({ok, _}) -> "ok";
started({error, {already_started, Pid}}) when is_pid(Pid) -> "already_started";
started({error, already_present}) -> "already_present";
started({error, _}) -> "failed".

done(ok) -> "ok";
done({ok, _}) -> "ok";
done({error, Why}) when Why =:= running; Why =:= restarting; Why =:= not_found -> atom_to_list(Why);
done({error, _}) -> "failed".

which(Children) ->
    ["which", [io_lib:format(" ~w:~w:~s", [Id, Type, state(C)]) || {Id, C, Type, _} <- lists:reverse(Children)]].

state(Pid) when is_pid(Pid) -> "running";
state(Other) -> atom_to_list(Other).

count(Counts) ->
    io_lib:format("count ~w ~w ~w ~w", [proplists:get_value(K, Counts) || K <- [specs, active, supervisors, workers]]).

%% tree tells which supervisors are there, with their children.
tree(Root) ->
    try ["tree ", branch(Root)]
    catch exit:_ -> "tree ended"
    end.

branch(Sup) ->
    Children = lists:reverse(supervisor:which_children(Sup)),
    Counts = count(supervisor:count_children(Sup)),
    ["[", Counts, [[" ", atom_to_list(Id), ":", leaf(Type, C)] || {Id, C, Type, _} <- Children], "]"].

leaf(supervisor, Pid) when is_pid(Pid) -> branch(Pid);
leaf(_, C) -> state(C).

%% tell notes what happens; told takes what was noted, in order.
tell(Table, Line) -> ets:insert(Table, {{event, erlang:unique_integer([monotonic])}, Line}).

told(Table) ->
    Lines = ets:match(Table, {{event, '_'}, '$1'}),
    ets:match_delete(Table, {{event, '_'}, '_'}),
    [io_lib:format("~s ~0p", [What, At]) || [{What, At}] <- Lines].

%% The supervisors and their children.
init({Table, Path, {sup, Strategy, Max, Children}}) ->
    ets:insert(Table, {{sup, Path}, self()}),
    tell(Table, {"init", Path}),
    {ok, {#{strategy => Strategy, intensity => Max, period => 3600}, [child(Table, Path, C) || C <- Children]}}.

child(Table, Path, {worker, Id, Restart, Fails, Shutdown}) ->
    #{id => Id, restart => Restart, shutdown => Shutdown, type => worker,
      start => {?MODULE, start_worker, [Table, {Path, Id, Fails}]}};
child(Table, Path, {nested, Id, Restart, Sup}) ->
    #{id => Id, restart => Restart, type => supervisor,
      start => {?MODULE, start_nested, [Table, {Path ++ [Id], Sup}]}}.

gate(Table, Path, Id, Keeper, Fails) ->
    #{id => Id, restart => temporary, start => {?MODULE, start_gate, [Table, {Path, Id, []}, Keeper, Fails]}}.

%% start_gate keeps a supervisor busy until its keeper opens.
start_gate(Table, Worker, Keeper, Fails) ->
    Keeper ! {gate, self()},
    receive go -> ok end,
    case Fails of
        true -> {error, refused};
        false -> start_worker(Table, Worker)
    end.

start_nested(Table, {Path, Sup}) ->
    case supervisor:start_link(?MODULE, {Table, Path, Sup}) of
        {ok, Pid} ->
            tell(Table, {"started", Path}),
            {ok, Pid};
        Error ->
            ets:insert(Table, {{sup, Path}, none}), % it may not be quite dead yet
            tell(Table, {"failed", Path}),
            Error
    end.

%% start_worker fails at those tries of its place that Fails lists.
start_worker(Table, {Path, Id, Fails}) ->
    At = Path ++ [Id],
    Try = ets:update_counter(Table, {tries, At}, 1, {{tries, At}, 0}),
    case lists:member(Try, Fails) of
        true ->
            tell(Table, {"failed", At}),
            {error, refused};
        false ->
            Sup = self(),
            Pid = spawn_link(fun() -> work(Table, At, Sup) end),
            receive {Pid, ready} -> ok end,
            ets:insert(Table, {{worker, Path, Id}, Pid}),
            tell(Table, {"started", At}),
            {ok, Pid}
    end.

work(Table, At, Sup) ->
    process_flag(trap_exit, true),
    Sup ! {self(), ready},
    receive
        {exit, Reason} -> exit(Reason);
        {'EXIT', Sup, Reason} ->
            tell(Table, {"stopped", At}),
            exit(Reason)
    end.
