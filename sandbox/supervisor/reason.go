package supervisor

// Reason is the class of a child's exit reason. It alone decides whether a
// [Transient] child is restarted.
type Reason string

// The classes. OTP's {shutdown, Term} is ReasonShutdown; every other term is
// ReasonAbnormal.
const (
	ReasonNormal   Reason = "normal"
	ReasonShutdown Reason = "shutdown" // asked to end, or a supervisor that gave up
	ReasonAbnormal Reason = "abnormal"
)

// restarts reports whether a child of this kind is restarted after such an end.
func (r Restart) restarts(reason Reason) bool {
	switch r {
	case Permanent:
		return true
	case Transient:
		return reason != ReasonNormal && reason != ReasonShutdown
	default:
		return false
	}
}
