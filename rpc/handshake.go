package rpc

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// The methods of the handshake, in their order on a connection. The first
// request of a connection decides what it is: with HelloMethod it is a node's.
const (
	HelloMethod = "session.hello"
	ProveMethod = "session.prove"
)

// ProtocolVersion changes when nodes of two versions cannot talk.
const ProtocolVersion = 1

// Identity is who a node is, and the secret that its cluster shares; the
// secret may be empty.
type Identity struct {
	Cluster string
	Node    string
	Secret  []byte
}

// Peer is the other side of a handshake, with what it said beyond its name.
type Peer struct {
	Node string
	Body json.RawMessage
}

// The messages: hello → welcome, prove → ack. Each side proves that it knows
// the secret by a MAC over both nonces, both names and the cluster's name; the
// secret itself is never sent. The two proofs carry different labels, so that
// one cannot be returned as the other.
type hello struct {
	Version int             `json:"version"`
	Cluster string          `json:"cluster"`
	Node    string          `json:"node"`
	To      string          `json:"to"`
	Nonce   string          `json:"nonce"`
	Body    json.RawMessage `json:"body,omitempty"`
}

type welcome struct {
	Node  string          `json:"node"`
	Nonce string          `json:"nonce"`
	Proof string          `json:"proof"`
	Body  json.RawMessage `json:"body,omitempty"`
}

type prove struct {
	Proof string          `json:"proof"`
	Body  json.RawMessage `json:"body,omitempty"`
}

type ack struct {
	Body json.RawMessage `json:"body,omitempty"`
}

// minNonce is the shortest nonce taken, in characters: 128 bits in hexadecimal.
const minNonce = 32

func newNonce() string {
	b := make([]byte, minNonce/2)
	rand.Read(b) // never fails: crypto/rand ends the program instead
	return hex.EncodeToString(b)
}

// proof is HMAC-SHA256 (RFC 2104) of the parts, each with its length so that no
// two lists of parts give the same bytes.
func proof(secret []byte, parts ...string) string {
	mac := hmac.New(sha256.New, secret)
	for _, part := range parts {
		fmt.Fprintf(mac, "%d:%s;", len(part), part)
	}
	return hex.EncodeToString(mac.Sum(nil))
}

func (id Identity) dialProof(h hello, w welcome) string {
	return proof(id.Secret, "glassbox dialled", h.Cluster, h.Node, h.To, h.Nonce, w.Nonce)
}

func (id Identity) acceptProof(h hello, w welcome) string {
	return proof(id.Secret, "glassbox accepted", h.Cluster, h.Node, h.To, h.Nonce, w.Nonce)
}

func same(a, b string) bool { return hmac.Equal([]byte(a), []byte(b)) }

// Greet is the dialling side's handshake with the node called to. hello is the
// body of the first message; proveBody is called with the welcome, which is
// proven to come from one who knows the secret, and returns the body of the
// second. The result is the peer's last word. A refusal is of kind forbidden
// and says why.
func Greet(ctx context.Context, c *Conn, id Identity, to string, helloBody any, proveBody func(welcome Peer) (any, error)) (Peer, error) {
	h := hello{Version: ProtocolVersion, Cluster: id.Cluster, Node: id.Node, To: to, Nonce: newNonce()}
	var err error
	if h.Body, err = encode(helloBody); err != nil {
		return Peer{}, err
	}
	var w welcome
	if err := c.Call(ctx, HelloMethod, h, &w); err != nil {
		return Peer{}, err
	}
	switch {
	case w.Node != to:
		return Peer{}, errs.New(errs.Forbidden, "the node that answers calls itself %q, not %q; correct the list of peers", w.Node, to)
	case len(w.Nonce) < minNonce || !same(w.Proof, id.acceptProof(h, w)):
		return Peer{}, wrongSecret(to)
	}
	body, err := proveBody(Peer{to, w.Body})
	if err != nil {
		return Peer{}, err
	}
	p := prove{Proof: id.dialProof(h, w)}
	if p.Body, err = encode(body); err != nil {
		return Peer{}, err
	}
	var a ack
	if err := c.Call(ctx, ProveMethod, p, &a); err != nil {
		return Peer{}, err
	}
	return Peer{to, a.Body}, nil
}

func wrongSecret(node string) error {
	return errs.New(errs.Forbidden, "node %s has another secret, or none; give all nodes of a cluster the same --secret-file", node)
}

// Door is what the accepting side does besides checking proofs. Welcome
// returns the body of the answer to a hello, which nobody has proven yet: it
// must change nothing and tell no secrets. Admit gets the proven peer's second
// body and lets it in, or refuses.
type Door interface {
	Welcome(ctx context.Context, hello Peer) (any, error)
	Admit(ctx context.Context, prove Peer) (any, error)
}

// Doorman is the accepting side of one connection.
type Doorman struct {
	id   Identity
	door Door

	mu      sync.Mutex
	hello   hello
	welcome welcome
	greeted bool
	peer    string
}

// NewDoorman makes the doorman of one connection.
func NewDoorman(id Identity, door Door) *Doorman { return &Doorman{id: id, door: door} }

// Peer returns the peer's name once it was admitted.
func (d *Doorman) Peer() (node string, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.peer, d.peer != ""
}

// Handle answers [HelloMethod] and [ProveMethod].
func (d *Doorman) Handle(ctx context.Context, method string, params json.RawMessage) (any, error) {
	if method == HelloMethod {
		return d.handleHello(ctx, params)
	}
	return d.handleProve(ctx, params)
}

func (d *Doorman) handleHello(ctx context.Context, params json.RawMessage) (any, error) {
	var h hello
	if err := json.Unmarshal(params, &h); err != nil {
		return nil, errs.Wrap(errs.BadParameter, err, "a hello that cannot be read")
	}
	switch {
	case h.Version != ProtocolVersion:
		return nil, errs.New(errs.Forbidden, "protocol version %d, this node (%s) speaks %d; run the same version everywhere", h.Version, d.id.Node, ProtocolVersion)
	case h.Cluster != d.id.Cluster:
		return nil, errs.New(errs.Forbidden, "cluster %.100q, this node (%s) is of cluster %q; correct --cluster or the list of peers", h.Cluster, d.id.Node, d.id.Cluster)
	case h.To != d.id.Node:
		return nil, errs.New(errs.Forbidden, "node %.100q was meant, this is %q; correct the list of peers", h.To, d.id.Node)
	case len(h.Nonce) < minNonce:
		return nil, errs.New(errs.Forbidden, "the hello has no nonce of at least %d characters", minNonce)
	}
	body, err := d.door.Welcome(ctx, Peer{h.Node, h.Body})
	if err != nil {
		return nil, err
	}
	w := welcome{Node: d.id.Node, Nonce: newNonce()}
	if w.Body, err = encode(body); err != nil {
		return nil, err
	}
	w.Proof = d.id.acceptProof(h, w)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.greeted {
		return nil, errs.New(errs.Conflict, "this connection has said hello already")
	}
	d.hello, d.welcome, d.greeted = h, w, true
	return w, nil
}

func (d *Doorman) handleProve(ctx context.Context, params json.RawMessage) (any, error) {
	var p prove
	if err := json.Unmarshal(params, &p); err != nil {
		return nil, errs.Wrap(errs.BadParameter, err, "a proof that cannot be read")
	}
	d.mu.Lock()
	h, w, greeted, peer := d.hello, d.welcome, d.greeted, d.peer
	d.mu.Unlock()
	switch {
	case !greeted || peer != "":
		return nil, errs.New(errs.Conflict, "%s comes once, after %s", ProveMethod, HelloMethod)
	case !same(p.Proof, d.id.dialProof(h, w)):
		return nil, wrongSecret(d.id.Node)
	}
	body, err := d.door.Admit(ctx, Peer{h.Node, p.Body})
	if err != nil {
		return nil, err
	}
	raw, err := encode(body)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	d.peer = h.Node
	d.mu.Unlock()
	return ack{raw}, nil
}
