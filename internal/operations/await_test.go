package operations

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/cluster/registry"
	"github.com/glassbox-dev/glassbox/cluster/replica"
	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/memdb"
)

// counted counts how often a node's replica is asked.
type counted struct {
	*replica.Replica
	asked atomic.Int64
}

func (c *counted) Lookup(ctx context.Context, name string, consistent bool) (memdb.Claim, error) {
	c.asked.Add(1)
	return c.Replica.Lookup(ctx, name, consistent)
}

// TestAWaiterAsksNobody while there is no claim to the name that it waits for,
// whatever else is registered.
func TestAWaiterAsksNobody(t *testing.T) {
	db, err := memdb.Open("n1")
	require.NoError(t, err)
	names := &counted{Replica: replica.New(replica.Config{Self: "n1", DB: db}, nil)} // it has no peers to call
	d := Deps{Self: "n1", DB: db, Names: names}
	register := func(name string) {
		_, _, err := names.Register(t.Context(), registry.Register{Name: name})
		require.NoError(t, err)
	}
	found := make(chan memdb.Claim)
	go func() {
		claim, _ := d.awaitName(t.Context(), LookupParams{NameParams: NameParams{"late"}, Consistent: true, WaitMS: 20_000})
		found <- claim
	}()
	for i := range 100 {
		register(fmt.Sprint(i))
	}
	require.Zero(t, names.asked.Load())
	register("late")
	require.Equal(t, "n1", (<-found).Node)

	asked := names.asked.Load()
	_, err = d.awaitName(t.Context(), LookupParams{NameParams: NameParams{"never"}, Consistent: true, WaitMS: 1})
	require.Equal(t, errs.NotFound, errs.KindOf(err))
	require.Equal(t, asked+1, names.asked.Load(), "once, when the wait is over")
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err = d.awaitName(ctx, LookupParams{NameParams: NameParams{"never"}, WaitMS: 20_000})
	require.Equal(t, errs.Timeout, errs.KindOf(err))
}
