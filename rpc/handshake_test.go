package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// house is a Door that lets in everybody but those on its list.
type house struct{ refuse string }

func (h house) Welcome(_ context.Context, hello Peer) (any, error) {
	if hello.Node == h.refuse {
		return nil, errs.New(errs.Forbidden, "%s is not among the peers", hello.Node)
	}
	return map[string]string{"to": hello.Node, "said": string(hello.Body)}, nil
}

func (h house) Admit(_ context.Context, p Peer) (any, error) {
	if string(p.Body) == `"bad"` {
		return nil, errs.New(errs.Conflict, "not like this")
	}
	return "come in", nil
}

// greet shakes hands over a connection in memory; the acceptor is n2 of
// cluster c.
func greet(t *testing.T, id Identity, to string, secret string, proveBody func(Peer) (any, error)) (Peer, *Doorman, error) {
	t.Helper()
	man := NewDoorman(Identity{Cluster: "c", Node: "n2", Secret: []byte(secret)}, house{refuse: "n9"})
	near, _ := pair(t, nobody, HandlerFunc(func(ctx context.Context, _ *Conn, method string, params json.RawMessage) (any, error) {
		return man.Handle(ctx, method, params)
	}), Config{})
	peer, err := Greet(t.Context(), near, id, to, map[string]int{"a": 1}, proveBody)
	return peer, man, err
}

func agree(Peer) (any, error) { return "good", nil }

func TestHandshake(t *testing.T) {
	for _, secret := range []string{"", "correct horse"} {
		peer, man, err := greet(t, Identity{"c", "n1", []byte(secret)}, "n2", secret, func(w Peer) (any, error) {
			require.Equal(t, "n2", w.Node)
			require.JSONEq(t, `{"to":"n1","said":"{\"a\":1}"}`, string(w.Body))
			return "good", nil
		})
		require.NoError(t, err)
		require.Equal(t, Peer{"n2", json.RawMessage(`"come in"`)}, peer)
		admitted, ok := man.Peer()
		require.True(t, ok)
		require.Equal(t, "n1", admitted)
	}
}

func TestHandshakeRefusals(t *testing.T) {
	own := errors.New("own reason")
	for name, tc := range map[string]struct {
		id     Identity
		to     string
		secret string
		prove  func(Peer) (any, error)
		want   string
	}{
		"wrong secret":    {Identity{"c", "n1", []byte("battery")}, "n2", "horse", agree, "another secret"},
		"none here":       {Identity{"c", "n1", nil}, "n2", "horse", agree, "another secret"},
		"none there":      {Identity{"c", "n1", []byte("horse")}, "n2", "", agree, "another secret"},
		"other cluster":   {Identity{"d", "n1", nil}, "n2", "", agree, `of cluster "c"`},
		"another meant":   {Identity{"c", "n1", nil}, "n3", "", agree, `"n3" was meant, this is "n2"`},
		"not in the list": {Identity{"c", "n9", nil}, "n2", "", agree, "n9 is not among the peers"},
		"not admitted":    {Identity{"c", "n1", nil}, "n2", "", func(Peer) (any, error) { return "bad", nil }, "not like this"},
		"changed mind":    {Identity{"c", "n1", nil}, "n2", "", func(Peer) (any, error) { return nil, own }, "own reason"},
		"unwritable":      {Identity{"c", "n1", nil}, "n2", "", func(Peer) (any, error) { return make(chan int), nil }, "unsupported"},
	} {
		t.Run(name, func(t *testing.T) {
			_, man, err := greet(t, tc.id, tc.to, tc.secret, tc.prove)
			require.ErrorContains(t, err, tc.want)
			_, ok := man.Peer()
			require.False(t, ok, "nobody is admitted")
		})
	}
}

// TestTheSecretIsMutual: who accepts without knowing the secret is found out by
// the dialler, before it proves anything itself.
func TestTheSecretIsMutual(t *testing.T) {
	proved := false
	for name, w := range map[string]welcome{
		"reflected": {Node: "n2", Nonce: newNonce(), Proof: "00"},
		"no nonce":  {Node: "n2"},
		"another":   {Node: "n3", Nonce: newNonce()},
	} {
		near, _ := pair(t, nobody, HandlerFunc(func(_ context.Context, _ *Conn, method string, _ json.RawMessage) (any, error) {
			proved = proved || method == ProveMethod
			return w, nil
		}), Config{})
		_, err := Greet(t.Context(), near, Identity{"c", "n1", []byte("horse")}, "n2", nil, agree)
		require.Equal(t, errs.Forbidden, errs.KindOf(err), name)
	}
	require.False(t, proved)
}

// TestTheDoormanIsStrict about the order, and about what it can read. A proof
// that was heard once opens no other connection: its nonces are others.
func TestTheDoormanIsStrict(t *testing.T) {
	id := Identity{"c", "n2", []byte("horse")}
	say := func(man *Doorman, method string, params any) (any, error) {
		raw, err := json.Marshal(params)
		require.NoError(t, err)
		return man.Handle(t.Context(), method, raw)
	}
	h := hello{Version: ProtocolVersion, Cluster: "c", Node: "n1", To: "n2", Nonce: newNonce()}
	man := NewDoorman(id, house{})
	_, err := say(man, ProveMethod, prove{})
	require.Equal(t, errs.Conflict, errs.KindOf(err))
	_, err = say(man, HelloMethod, "x")
	require.Equal(t, errs.BadParameter, errs.KindOf(err))
	for _, wrong := range []hello{{Version: 99, Cluster: "c", To: "n2"}, {Version: ProtocolVersion, Cluster: "c", To: "n2", Nonce: "short"}} {
		_, err = say(man, HelloMethod, wrong)
		require.Equal(t, errs.Forbidden, errs.KindOf(err))
	}
	answer, err := say(man, HelloMethod, h)
	require.NoError(t, err)
	_, err = say(man, HelloMethod, h)
	require.Equal(t, errs.Conflict, errs.KindOf(err), "once")
	_, err = say(man, ProveMethod, []int{})
	require.Equal(t, errs.BadParameter, errs.KindOf(err))
	heard := prove{Proof: id.dialProof(h, answer.(welcome))}
	_, err = say(man, ProveMethod, heard)
	require.NoError(t, err)
	_, err = say(man, ProveMethod, heard)
	require.Equal(t, errs.Conflict, errs.KindOf(err), "once")

	other := NewDoorman(id, house{})
	_, err = say(other, HelloMethod, h)
	require.NoError(t, err)
	_, err = say(other, ProveMethod, heard)
	require.Equal(t, errs.Forbidden, errs.KindOf(err), "a proof cannot be replayed")
}
