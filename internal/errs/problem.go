package errs

// Problem is an error on the wire: an RFC 9457 problem document in HTTP
// (application/problem+json), the same object as JSON-RPC's error.data.
type Problem struct {
	Type     string  `json:"type"`   // "about:blank": the kind says more than a URI would
	Title    string  `json:"title"`  // the kind, for people
	Status   int     `json:"status"` // HTTP status
	Detail   string  `json:"detail"` // this error's message
	Kind     Kind    `json:"kind"`
	Definite bool    `json:"definite"` // it certainly did not happen
	Param    string  `json:"param,omitempty"`
	Node     string  `json:"node,omitempty"` // the node that said so, where it was not the one asked
	Why      string  `json:"why,omitempty"`
	Faults   []Fault `json:"faults,omitempty"`
}

// ProblemOf puts any error into its wire form.
func ProblemOf(err error) Problem {
	e := From(err)
	p := e.Kind.Property()
	return Problem{
		Type: "about:blank", Title: p.Title, Status: p.Status, Detail: e.Message,
		Kind: e.Kind, Definite: e.Definite(), Param: e.Param, Node: e.Node, Why: e.Why, Faults: e.Faults,
	}
}

// Err is the reverse of [ProblemOf].
func (p Problem) Err() *Error {
	return &Error{
		Kind: p.Kind, Message: p.Detail, Param: p.Param, Node: p.Node, Why: p.Why, Faults: p.Faults,
		Unsure: !p.Definite && p.Kind.Property().Definite, Sure: p.Definite && !p.Kind.Property().Definite,
	}
}
