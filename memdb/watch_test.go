package memdb

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

var errTest = errors.New("no")

func passed(v View) bool {
	select {
	case <-v.Changed():
		return true
	default:
		return false
	}
}

func TestAViewTellsWhenItIsThePast(t *testing.T) {
	db := open(t, "n1")
	asked, unasked := db.View(), db.View()
	require.False(t, passed(asked))
	put(t, db, "a")
	require.True(t, passed(asked))
	require.True(t, passed(unasked), "also for who asks only now")
	now := db.View()
	require.False(t, passed(now))
	_, err := db.Update(func(tx *Tx) error {
		require.Nil(t, tx.View().Changed(), "a state that is not committed does not pass")
		return errTest
	})
	require.ErrorIs(t, err, errTest)
	require.False(t, passed(now), "nothing was committed")
	require.NoError(t, db.Hide("n2"))
	require.True(t, passed(now), "what is shown has changed")
}
