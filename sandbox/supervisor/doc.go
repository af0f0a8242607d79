// Package supervisor restarts what ends, by the rules of Erlang's OTP, in
// OTP's words. It knows nothing of processes of the operating system.
//
// # Usage
//
//	workers, err := supervisor.NewNested(supervisor.Spec{…}, supervisor.Options{Name: "workers", OnEvent: hook})
//	s, err := supervisor.New(supervisor.Spec{
//		Strategy:  supervisor.RestForOne,
//		Intensity: supervisor.Intensity{MaxRestarts: 3, Period: 5 * time.Second},
//		Children: []supervisor.ChildSpec{
//			{ID: "cache", Restart: supervisor.Permanent, Shutdown: 5 * time.Second, Child: cache},
//			{ID: "workers", Type: supervisor.TypeSupervisor, Restart: supervisor.Permanent, Child: workers},
//		},
//	}, supervisor.Options{OnEvent: hook})
//	err = s.Serve(ctx)
//
// From any goroutine, while it serves: [Supervisor.StartChild],
// [Supervisor.TerminateChild], [Supervisor.RestartChild],
// [Supervisor.DeleteChild], [Supervisor.WhichChildren],
// [Supervisor.CountChildren]; at any time [Supervisor.History].
//
// # Guarantees
//
// Children are started in order, the next one only when the one before runs. If
// one cannot be started at first, those already started are stopped in reverse
// order and Serve returns a [StartError]. A child that ends is restarted by its
// [Restart], and others with it by the [Strategy]: they are stopped in reverse
// order, then started in order; a temporary one among them is forgotten. A
// restart that fails counts as a restart and is tried again, when the exits and
// requests that came before have been handled. Up to MaxRestarts restarts within
// the period are tolerated; one more stops all children in reverse order and
// Serve returns an [IntensityError]. When the context ends, all children are
// stopped in reverse order and Serve returns nil. Serve returns only when every
// child it started has ended.
//
// A [Nested] supervisor that cannot start fails to start like any child; one
// that gives up ends with shutdown: it is restarted if it is permanent, and
// stays away if it is transient. Its events of a start come before its parent's
// ChildStarted, those of its end before its parent's ChildExited.
//
// # What callers owe
//
// An [Instance] closes Done when nothing of it is left, and Stop returns only
// then. The event hook and Child.Start are called from the supervisor's own
// goroutine: they must not call it, and a hook that several supervisors share
// is called by several goroutines.
//
// # Where it differs from OTP
//
// On purpose, and so left out of the scripts of TestOTP:
//
//   - A shutdown overtakes the exits and requests that wait, cancels a start
//     under way and cuts a restart of several children short. OTP handles it in
//     its turn: restarts that nobody will see, for as long as starts take.
//   - A request whose caller has given up before it was begun is not carried
//     out. OTP does it, and nobody learns of it.
//   - The period is measured exactly. OTP's clock counts whole seconds here, so
//     that its window is up to a second longer or shorter.
//   - [Supervisor.WhichChildren] lists the first child first; OTP's order, the
//     last one first, is not documented.
//   - A nested supervisor is never killed, whatever its Shutdown: its children
//     would be left. OTP calls that a race and says infinity.
//   - There is no simple_one_for_one, ignore, auto_shutdown or code change, and
//     nothing left out of a spec is filled in.
//
// # Debugging and testing
//
// All decisions are in [Core], a state machine without clock, goroutine or
// input of its own: feed it by hand, as TestScenarios does. The shell is tested
// in virtual time, and both by TestOTP: random scripts run on Erlang's own
// supervisor, and all starts, stops, results and children must be the same.
// Repeat one with
//
//	go test ./sandbox/supervisor -run TestOTP -v -script 17
package supervisor
