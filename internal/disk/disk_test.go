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
			rows, copies, err := again.Load()
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
