package supervisor_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/sandbox/supervisor"
)

// scenario is one rule of supervisor(3), or what follows from it. What the
// supervisor does is told as: +x start, -x stop, leave:x an end that stays,
// a call's result, "|" the next input.
type scenario struct {
	rule     string
	strategy supervisor.Strategy
	max      int
	children string // each with the first letters of its restart: a:perm b:tran c:temp
	inputs   []string
	want     string
}

const (
	ofo = supervisor.OneForOne
	ofa = supervisor.OneForAll
	rfo = supervisor.RestForOne
)

var scenarios = []scenario{
	// Strategies.
	{"one_for_one: only that child is affected", ofo, 3, "a:perm b:perm c:perm",
		[]string{"exit b abnormal"}, "+a +b +c running | +b"},
	{"one_for_all: all others are terminated in reverse, then all are started", ofa, 3, "a:perm b:perm c:perm",
		[]string{"exit b abnormal"}, "+a +b +c running | -c -a +a +b +c"},
	{"rest_for_one: those after it are terminated in reverse, then it and they are started", rfo, 3, "a:perm b:perm c:perm d:perm",
		[]string{"exit b abnormal"}, "+a +b +c +d running | -d -c +b +c +d"},
	{"rest_for_one: the last child is alone", rfo, 3, "a:perm b:perm",
		[]string{"exit b abnormal"}, "+a +b running | +b"},
	{"a temporary child that a sibling's restart terminates is forgotten", ofa, 3, "a:perm b:temp c:perm",
		[]string{"exit c abnormal", "which_children"}, "+a +b +c running | -b -a +a +c | which a:worker:running c:worker:running"},
	{"rest_for_one: a temporary one before it stays", rfo, 3, "a:temp b:perm c:temp",
		[]string{"exit b abnormal", "which_children"}, "+a +b +c running | -c +b | which a:worker:running b:worker:running"},
	{"a temporary child's end restarts nobody", ofa, 3, "a:perm b:temp",
		[]string{"exit b abnormal", "which_children"}, "+a +b running | leave:b | which a:worker:running"},
	{"a transient child's normal end restarts nobody, its spec stays", ofa, 3, "a:perm b:tran",
		[]string{"exit b normal", "which_children"}, "+a +b running | leave:b | which a:worker:running b:worker:undefined"},
	{"a transient child's shutdown is as normal", ofo, 3, "a:tran",
		[]string{"exit a shutdown", "exit a abnormal"}, "+a running | leave:a |"},
	{"one_for_all also starts what had ended or was terminated", ofa, 3, "a:perm b:tran c:perm",
		[]string{"exit b normal", "terminate_child c", "exit a abnormal"}, "+a +b +c running | leave:b | -c ok | +a +b +c"},
	{"siblings that ended meanwhile are not restarted twice", ofa, 3, "a:perm b:perm c:perm",
		[]string{"hold", "exit a abnormal", "exit b abnormal", "go"}, "+a +b +c running | | -c | | +a +b +c"},

	// The first start.
	{"a first start that fails terminates in reverse", ofo, 3, "a:perm b:perm c:perm",
		[]string{"fail c"}, "+a +b +c giveup -b -a ended"},

	// Restarts that fail.
	{"a restart that fails is tried again and counts", ofo, 2, "a:perm b:perm",
		[]string{"exit b abnormal", "fail a", "exit a abnormal", "fail a", "exit a abnormal"},
		"+a +b running | +b | | +a giveup -b ended | |"},
	{"an exit and failed restarts up to the intensity are tolerated", ofo, 3, "a:perm",
		[]string{"wait 0s", "fail a", "fail a", "exit a abnormal"}, "+a running | | | | +a +a +a"},
	{"a failed restart of several leaves the rest undefined until it is tried again", ofa, 9, "a:perm b:perm c:perm",
		[]string{"hold", "exit a abnormal", "which_children", "fail b", "go"},
		"+a +b +c running | | -c | | | -b +a +b which a:worker:running b:worker:restarting c:worker:undefined -a +a +b +c"},
	{"rest_for_one tries again from the child that failed", rfo, 9, "a:perm b:perm c:perm",
		[]string{"hold", "fail c", "exit b abnormal", "go"}, "+a +b +c running | | | -c | +b +c +c"},
	{"what came before the retry is handled first", ofo, 9, "a:perm b:perm",
		[]string{"hold", "exit a abnormal", "exit b abnormal", "terminate_child a", "fail a", "go"},
		"+a +b running | | +a | | | | +b ok"},
	{"a child that waits for its retry is restarting", ofo, 9, "a:perm",
		[]string{"hold", "exit a abnormal", "restart_child a", "delete_child a", "start_child a permanent", "count_children", "fail a", "go"},
		"+a running | | +a | | | | | | restarting restarting already_present count 1 0 0 1 +a"},

	// Intensity.
	{"none tolerated", ofo, 0, "a:perm b:perm",
		[]string{"exit a abnormal"}, "+a +b running | giveup -b ended"},
	{"a restart of several counts once", ofa, 1, "a:perm b:perm",
		[]string{"exit a abnormal", "exit b abnormal"}, "+a +b running | -b +a +b | giveup -a ended"},
	{"restarts asked for do not count", ofo, 0, "a:perm",
		[]string{"terminate_child a", "restart_child a", "terminate_child a", "restart_child a"},
		"+a running | -a ok | +a ok | -a ok | +a ok"},
	{"a whole period back still counts", ofo, 1, "a:perm",
		[]string{"exit a abnormal", "wait 5s", "exit a abnormal"}, "+a running | +a | | giveup ended"},
	{"longer back does not", ofo, 1, "a:perm",
		[]string{"exit a abnormal", "wait 5.000000001s", "exit a abnormal"}, "+a running | +a | | +a"},

	// Dynamic children.
	{"start_child appends", rfo, 3, "a:perm",
		[]string{"start_child b permanent", "start_child c permanent", "exit b abnormal"}, "+a running | +b ok | +c ok | -c +b +c"},
	{"start_child of a running child: already_started", ofo, 3, "a:perm",
		[]string{"start_child a permanent"}, "+a running | already_started"},
	{"start_child of one that does not run: already_present", ofo, 3, "a:perm",
		[]string{"terminate_child a", "start_child a permanent"}, "+a running | -a ok | already_present"},
	{"a child that ended and was not noticed yet is still there", ofo, 3, "a:temp b:perm",
		[]string{"hold", "exit b abnormal", "start_child a temporary", "exit a normal", "start_child a temporary", "count_children", "go"},
		"+a +b running | | +b | | | | | already_started leave:a +a ok count 2 2 0 2"},
	{"nor is it active", ofo, 3, "a:temp b:perm",
		[]string{"hold", "exit b abnormal", "count_children", "exit a normal", "go"},
		"+a +b running | | +b | | | count 2 1 0 2 leave:a"},
	{"terminating such a child takes the news of its end away", ofo, 0, "a:tran b:tran",
		[]string{"hold", "terminate_child b", "terminate_child a", "exit a abnormal", "go", "which_children"},
		"+a +b running | | -b | | | ok ok | which a:worker:undefined b:worker:undefined"},
	{"a child that cannot be started is not added", ofo, 3, "",
		[]string{"wait 0s", "fail a", "start_child a permanent", "which_children", "start_child a permanent"}, "running | | | +a failed | which | +a ok"},
	{"terminate_child keeps the spec", ofo, 3, "a:tran",
		[]string{"terminate_child a", "count_children", "terminate_child a"}, "+a running | -a ok | count 1 0 0 1 | ok"},
	{"terminate_child of a temporary child forgets it", ofo, 3, "a:temp",
		[]string{"terminate_child a", "terminate_child a"}, "+a running | -a ok | not_found"},
	{"restart_child", ofo, 3, "a:perm",
		[]string{"restart_child a", "restart_child x", "terminate_child a", "fail a", "restart_child a", "restart_child a"},
		"+a running | running | not_found | -a ok | | +a failed | +a ok"},
	{"delete_child", ofo, 3, "a:perm",
		[]string{"delete_child a", "delete_child x", "terminate_child a", "delete_child a", "start_child a transient"},
		"+a running | running | not_found | -a ok | ok | +a ok"},

	// The end.
	{"shutdown terminates in reverse, also what was added", ofo, 3, "a:perm b:perm",
		[]string{"start_child c temporary", "shutdown", "exit a abnormal"}, "+a +b running | +c ok | -c -b -a ended |"},
	{"shutdown awaits the command under way and drops what waits", ofo, 3, "a:perm b:perm",
		[]string{"hold", "exit a abnormal", "terminate_child b", "shutdown", "go"}, "+a +b running | | +a | | | -b -a ended"},
	{"shutdown cuts a restart of several short", ofa, 3, "a:perm b:perm c:perm",
		[]string{"hold", "exit a abnormal", "shutdown", "go"}, "+a +b +c running | | -c | | -b ended"},
	{"a call under way is answered", ofo, 3, "a:perm",
		[]string{"hold", "start_child b permanent", "shutdown", "go"}, "+a running | | +b | | ok -b -a ended"},
	{"a call withdrawn in time is not carried out", ofo, 3, "a:perm b:perm",
		[]string{"hold", "exit a abnormal", "terminate_child b", "withdraw", "go"}, "+a +b running | | +a | | |"},
}

func TestScenarios(t *testing.T) {
	kinds := map[string]supervisor.Restart{"perm": supervisor.Permanent, "tran": supervisor.Transient, "temp": supervisor.Temporary}
	for _, s := range scenarios {
		t.Run(s.rule, func(t *testing.T) {
			spec := supervisor.Spec{Strategy: s.strategy, Intensity: supervisor.Intensity{MaxRestarts: s.max, Period: 5 * time.Second}}
			for _, text := range strings.Fields(s.children) {
				id, kind, _ := strings.Cut(text, ":")
				spec.Children = append(spec.Children, supervisor.ChildSpec{ID: id, Restart: kinds[kind]})
			}
			require.NoError(t, spec.Validate())
			require.Equal(t, strings.TrimSpace(s.want), strings.TrimSpace(play(t, spec, s.inputs...)))
		})
	}
}
