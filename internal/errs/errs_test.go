package errs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTable holds what clients rely on: every kind has one row, every code one
// kind, and the standard's codes keep their meaning.
func TestTable(t *testing.T) {
	kinds, codes := map[Kind]bool{}, map[int]bool{}
	for _, p := range Kinds() {
		require.False(t, kinds[p.Kind], "kind %s has two rows", p.Kind)
		require.False(t, codes[p.Code], "code %d stands for two kinds", p.Code)
		kinds[p.Kind], codes[p.Code] = true, true
		require.Equal(t, p, p.Kind.Property())
		require.Equal(t, p.Kind, KindOfCode(p.Code))
		require.NotEmpty(t, p.Title)
		require.GreaterOrEqual(t, p.Status, 400)
		require.NotEqual(t, ExitOK, p.Exit)
	}
	for code, kind := range map[int]Kind{
		-32700: ParseError, -32600: InvalidRequest, -32601: MethodNotFound, -32602: BadParameter, -32603: Internal,
	} {
		require.Equal(t, kind, KindOfCode(code))
	}
	require.Equal(t, Internal, KindOfCode(42), "a code that is not ours")
	require.Equal(t, Internal, Kind("from_the_future").Property().Kind)
}

func TestFrom(t *testing.T) {
	mine := New(NotFound, "no %s", "such")
	for _, tc := range []struct {
		err      error
		kind     Kind
		definite bool
	}{
		{mine, NotFound, true},
		{fmt.Errorf("wrapped: %w", mine), NotFound, true},
		{context.DeadlineExceeded, Timeout, false},
		{context.Canceled, Cancelled, false},
		{errors.New("bare"), Internal, false},
	} {
		e := From(tc.err)
		require.Equal(t, tc.kind, e.Kind)
		require.Equal(t, tc.definite, e.Definite())
	}
	require.Nil(t, From(nil))
	require.Empty(t, KindOf(nil))
	require.ErrorIs(t, mine, New(NotFound, ""))
	require.NotErrorIs(t, mine, New(Timeout, ""))
	cause := errors.New("cause")
	require.ErrorIs(t, Wrap(Internal, cause, "because"), cause)
}

func TestProblemKeepsEverythingOnTheWire(t *testing.T) {
	e := BadParam("limit", "must be at most %d", 7).WithWhy("too %s", "many").WithNode("n2").WithFaults([]Fault{{"/a", "b"}})
	raw, err := json.Marshal(ProblemOf(e))
	require.NoError(t, err)
	require.JSONEq(t, `{"type":"about:blank","title":"Bad parameter","status":400,"kind":"bad_parameter","definite":true,
		"detail":"parameter \"limit\": must be at most 7","param":"limit","node":"n2","why":"too many",
		"faults":[{"pointer":"/a","message":"b"}]}`, string(raw))
	var p Problem
	require.NoError(t, json.Unmarshal(raw, &p))
	require.Equal(t, e, p.Err())

	lost := New(NodeUnavailable, "lost on the way")
	lost.Unsure = true
	require.False(t, lost.Definite())
	require.False(t, ProblemOf(lost).Err().Definite(), "indefinite stays indefinite")
	late := New(Timeout, "not begun")
	late.Sure = true
	require.True(t, late.Definite())
	require.Equal(t, late, ProblemOf(late).Err(), "definite stays definite")
}
