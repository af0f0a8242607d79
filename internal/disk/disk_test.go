package disk_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/glassbox-dev/glassbox/internal/disk"
	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/memdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t require.TestingT, dir string) *disk.Disk {
	d, err := disk.Open(dir, "n1")
	require.NoError(t, err)
	return d
}

// TestEveryWriteIsThere: after each write a copy of the file, as a process that is
// killed there leaves it, has all that was written and nothing else.
func TestEveryWriteIsThere(t *testing.T) {
	root := t.TempDir()
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		dir := filepath.Join(root, fmt.Sprint(run))
		d := open(t, dir)
		defer func() { require.NoError(t, d.Close()) }()
		kept, decreed := map[string]memdb.Sandbox{}, map[string]memdb.Destroyed{}
		uids := rapid.SampledFrom([]string{"u1", "u2", "u3"})
		for step := range rapid.IntRange(1, 6).Draw(t, "steps") {
			uid := uids.Draw(t, "uid")
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				row := memdb.Sandbox{ID: "shop", UID: uid, Node: "n1", Epoch: uint64(step), Created: time.UnixMicro(1).UTC(), Spec: json.RawMessage(`{"id":"shop"}`)}
				kept[uid] = row
				require.NoError(t, d.PutSandbox(row))
			case 1:
				delete(kept, uid)
				require.NoError(t, d.DropSandbox(uid))
			case 2:
				row := memdb.Destroyed{UID: uid, ID: "shop", Node: "n1", Host: "n2", By: "n3", At: time.UnixMicro(2).UTC(), Acked: []string{"n1"}}
				decreed[uid] = row
				delete(kept, uid)
				require.NoError(t, d.PutDestroyed(row))
			default:
				delete(decreed, uid)
				require.NoError(t, d.DropDestroyed(uid))
			}
			copied := filepath.Join(dir, fmt.Sprint("killed", step))
			raw, err := os.ReadFile(filepath.Join(dir, disk.File))
			require.NoError(t, err)
			require.NoError(t, os.Mkdir(copied, 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(copied, disk.File), raw, 0o600))
			again := open(t, copied)
			rows, copies, _, err := again.Load()
			require.NoError(t, err)
			require.NoError(t, again.Close())
			require.Len(t, rows, len(kept))
			for _, row := range rows {
				require.Equal(t, kept[row.UID], row)
			}
			require.Len(t, copies, len(decreed))
			for _, one := range copies {
				require.Equal(t, decreed[one.UID], one)
			}
		}
	})
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	_, err := disk.Open(dir, "n1")
	require.Equal(t, errs.Conflict, errs.KindOf(err))
	require.ErrorContains(t, err, "another process has the data folder "+dir+" open")
	require.NoError(t, d.PutSandbox(memdb.Sandbox{UID: "u"}))
	require.NoError(t, d.Close())
	require.Error(t, d.PutSandbox(memdb.Sandbox{UID: "v"}), "it is closed")

	_, err = disk.Open(dir, "n2")
	require.Equal(t, errs.Conflict, errs.KindOf(err))
	require.ErrorContains(t, err, "is node n1's, and this is node n2; give each node a folder of its own with --data-dir")

	require.NoError(t, os.WriteFile(filepath.Join(dir, disk.File), []byte("something else"), 0o600))
	_, err = disk.Open(dir, "n1")
	require.Equal(t, errs.BadParameter, errs.KindOf(err))
	require.ErrorContains(t, err, "cannot be read")

	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = disk.Open(filepath.Join(file, "below"), "n1")
	require.Equal(t, errs.BadParameter, errs.KindOf(err))
	require.ErrorContains(t, err, "choose another with --data-dir")
}

// TestDamage: a file that was cut short, or has garbage in it, is a sentence and not
// the end of the process; one sandbox that cannot be read keeps nobody from the others.
func TestDamage(t *testing.T) {
	whole := t.TempDir()
	d := open(t, whole)
	for i := range 200 {
		require.NoError(t, d.PutSandbox(memdb.Sandbox{UID: fmt.Sprint("u", i), Spec: json.RawMessage(`{"id":"shop"}`)}))
	}
	require.NoError(t, d.Close())
	raw, err := os.ReadFile(filepath.Join(whole, disk.File))
	require.NoError(t, err)
	page := os.Getpagesize()
	garbage := func(from, to int) []byte {
		broken := append([]byte(nil), raw...)
		for i := from; i < min(to, len(broken)); i++ {
			broken[i] = 0xa5
		}
		return broken
	}
	for what, broken := range map[string][]byte{
		"cut short":        raw[:2*page+100],
		"garbage":          garbage(2*page, len(raw)),
		"garbage freelist": garbage(2*page, 3*page),
		"all garbage":      garbage(0, len(raw)),
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, disk.File), broken, 0o600))
			d, err := disk.Open(dir, "n1")
			if err == nil { // what is damaged is met later
				_, _, _, err = d.Load()
			}
			require.Error(t, err)
		})
	}
}
