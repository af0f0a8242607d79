// Package errs is the one table of error kinds.
//
// Every error that leaves Glassbox has a [Kind]. The kind alone decides the
// HTTP status, the JSON-RPC code, the exit code of the command line, and
// whether the error is definite: whether the thing asked for certainly did not
// happen. Callers may retry a definite error; an indefinite one (a timeout, a
// lost connection) must never be retried blindly.
//
// Make an error with [New], give it detail with the With methods, wrap a cause
// with [Wrap]. Read one with [From], which turns any error into an *[Error].
// On the wire an error is a [Problem]: an RFC 9457 document in HTTP, the same
// object in JSON-RPC's error.data.
package errs

import "net/http"

// Kind names what went wrong, in the words clients match on.
type Kind string

// The kinds. Their properties are in the table below.
const (
	ParseError       Kind = "parse_error"            // not JSON at all
	InvalidRequest   Kind = "invalid_request"        // JSON, but no JSON-RPC 2.0 request
	MethodNotFound   Kind = "method_not_found"       // no such operation
	BadParameter     Kind = "bad_parameter"          // a parameter is unknown, missing, ill-typed or out of range
	Internal         Kind = "internal"               // a fault of ours
	Unauthorized     Kind = "unauthorized"           // no token, or a wrong one
	Forbidden        Kind = "forbidden"              // known, but not allowed
	NotFound         Kind = "not_found"              // the subject does not exist
	MethodNotAllowed Kind = "method_not_allowed"     // the path exists, not with this HTTP method
	NotAcceptable    Kind = "not_acceptable"         // the answer cannot be had in the form asked for
	NameTaken        Kind = "name_taken"             // another holder has the name
	AlreadyExists    Kind = "already_exists"         // the id is in use
	Conflict         Kind = "conflict"               // the subject's state does not allow it
	TooLarge         Kind = "too_large"              // the message is over the limit
	UnsupportedMedia Kind = "unsupported_media_type" // the body is not application/json
	BadSpec          Kind = "bad_spec"               // a sandbox spec has faults, all of them listed
	RateLimited      Kind = "rate_limited"           // too many requests at once
	NodeUnavailable  Kind = "node_unavailable"       // the node is dead, unreachable or was lost; it did not happen
	NotReady         Kind = "not_ready"              // this node has not joined yet
	ConnectionLost   Kind = "connection_lost"        // lost between question and answer; it may have happened
	Timeout          Kind = "timeout"                // no answer in time; it may have happened
	Cancelled        Kind = "cancelled"              // the caller gave up; it may have happened
)

// Property is one row of the table of kinds.
type Property struct {
	Kind     Kind
	Status   int    // HTTP status
	Code     int    // JSON-RPC error code
	Exit     int    // exit code of the command line
	Definite bool   // it certainly did not happen
	Title    string // short, for people; the same for every error of the kind
}

// Exit codes of the command line.
const (
	ExitOK          = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitNotFound    = 3
	ExitConflict    = 4
	ExitUnavailable = 5
)

// statusClientClosed is nginx's 499: the client closed the request. It has no
// name in net/http and is only seen in logs and metrics.
const statusClientClosed = 499

// table is the one place where kinds meet codes. The five codes of JSON-RPC
// 2.0 (section 5.1) keep their meaning; the rest are in the range the standard
// leaves to implementations, -32000 to -32099.
var table = []Property{
	{ParseError, http.StatusBadRequest, -32700, ExitUsage, true, "Not valid JSON"},
	{InvalidRequest, http.StatusBadRequest, -32600, ExitUsage, true, "Not a valid request"},
	{MethodNotFound, http.StatusNotFound, -32601, ExitUsage, true, "No such operation"},
	{BadParameter, http.StatusBadRequest, -32602, ExitUsage, true, "Bad parameter"},
	{Internal, http.StatusInternalServerError, -32603, ExitFailed, false, "Internal error"},
	{Unauthorized, http.StatusUnauthorized, -32001, ExitFailed, true, "Not authorized"},
	{Forbidden, http.StatusForbidden, -32003, ExitFailed, true, "Forbidden"},
	{NotFound, http.StatusNotFound, -32004, ExitNotFound, true, "Not found"},
	{MethodNotAllowed, http.StatusMethodNotAllowed, -32005, ExitUsage, true, "Method not allowed"},
	{NotAcceptable, http.StatusNotAcceptable, -32006, ExitUsage, true, "Not acceptable"},
	{NameTaken, http.StatusConflict, -32009, ExitConflict, true, "Name taken"},
	{AlreadyExists, http.StatusConflict, -32010, ExitConflict, true, "Already exists"},
	{Conflict, http.StatusConflict, -32011, ExitConflict, true, "Conflict"},
	{TooLarge, http.StatusRequestEntityTooLarge, -32013, ExitUsage, true, "Too large"},
	{UnsupportedMedia, http.StatusUnsupportedMediaType, -32015, ExitUsage, true, "Unsupported media type"},
	{BadSpec, http.StatusUnprocessableEntity, -32022, ExitUsage, true, "Bad sandbox spec"},
	{RateLimited, http.StatusTooManyRequests, -32029, ExitUnavailable, true, "Too many requests"},
	{NodeUnavailable, http.StatusServiceUnavailable, -32030, ExitUnavailable, true, "Node unavailable"},
	{NotReady, http.StatusServiceUnavailable, -32031, ExitUnavailable, true, "Node not ready"},
	{ConnectionLost, http.StatusServiceUnavailable, -32032, ExitUnavailable, false, "Connection lost"},
	{Timeout, http.StatusGatewayTimeout, -32040, ExitUnavailable, false, "Timeout"},
	{Cancelled, statusClientClosed, -32041, ExitFailed, false, "Cancelled"},
}

var (
	byKind = index(func(p Property) Kind { return p.Kind })
	byCode = index(func(p Property) int { return p.Code })
)

func index[K comparable](key func(Property) K) map[K]Property {
	m := make(map[K]Property, len(table))
	for _, p := range table {
		m[key(p)] = p
	}
	return m
}

// Kinds returns the whole table, for documents made from it.
func Kinds() []Property { return append([]Property(nil), table...) }

// Property returns the kind's row. A kind that is not in the table, which can
// only come from a newer peer, is treated as Internal.
func (k Kind) Property() Property {
	if p, ok := byKind[k]; ok {
		return p
	}
	return byKind[Internal]
}

// KindOfCode returns the kind that a JSON-RPC error code stands for, Internal
// when the code is not ours.
func KindOfCode(code int) Kind {
	if p, ok := byCode[code]; ok {
		return p.Kind
	}
	return Internal
}
