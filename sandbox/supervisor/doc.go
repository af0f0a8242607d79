// Package supervisor restarts what ends, by the rules of Erlang's OTP, in
// OTP's words. It knows nothing of processes of the operating system.
//
// # Usage
//
//	s, err := supervisor.New(supervisor.Spec{
//		Strategy:  supervisor.OneForOne,
//		Intensity: supervisor.Intensity{MaxRestarts: 3, Period: 5 * time.Second},
//		Children: []supervisor.ChildSpec{
//			{ID: "cache", Restart: supervisor.Permanent, Shutdown: 5 * time.Second, Child: cache},
//		},
//	}, supervisor.Options{OnEvent: hook})
//	err = s.Serve(ctx)
//
// # Guarantees
//
// Children are started in order, the next one only when the one before runs. If
// one cannot be started at first, those already started are stopped in reverse
// order and Serve returns a [StartError]. A child that ends is restarted by its
// [Restart]. A restart that fails counts as a restart and is tried again. Up to
// MaxRestarts restarts within the period are tolerated; one more stops all
// children in reverse order and Serve returns an [IntensityError]. When the
// context ends, all children are stopped in reverse order and Serve returns nil.
// Serve returns only when every child it started has ended.
//
// # What callers owe
//
// An [Instance] closes Done when nothing of it is left, and Stop returns only
// then. The event hook is called from Serve's goroutine and must not block.
//
// # Debugging and testing
//
// All decisions are in [Core], a state machine without clock, goroutine or
// input of its own: feed it by hand. The shell is tested in virtual time.
package supervisor
