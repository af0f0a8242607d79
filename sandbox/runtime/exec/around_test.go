package exec

import (
	"io/fs"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestAround(t *testing.T) {
	root := fstest.MapFS{
		"etc/passwd":            {},
		"etc/ssl/cert":          {},
		"etc/box/token":         {},
		"etc/box/config":        {},
		"etc/box/data/raft/log": {},
		"etc/shortcut":          {Data: []byte("box/token"), Mode: fs.ModeSymlink},
	}
	const list = "list of "
	for name, tt := range map[string]struct {
		folder string
		except []string
		want   []string
	}{
		"nothing is hidden":           {"/etc", nil, []string{"/etc"}},
		"what is hidden is elsewhere": {"/etc", []string{"/etc2/token", "/opt"}, []string{"/etc"}},
		"a file": {"/etc", []string{"/etc/box/token"}, []string{
			list + "/etc", list + "/etc/box", "/etc/box/config", "/etc/box/data", "/etc/passwd", "/etc/ssl",
		}},
		"a folder, which would be listed with what it is in": {"/etc", []string{"/etc/box/data"}, []string{
			"/etc/box/config", "/etc/box/token", "/etc/passwd", "/etc/ssl",
		}},
		"both":                       {"/etc", []string{"/etc/passwd", "/etc/box/data"}, []string{"/etc/box/config", "/etc/box/token", "/etc/ssl"}},
		"one in the other":           {"/etc", []string{"/etc/box", "/etc/box/token"}, []string{"/etc/passwd", "/etc/ssl"}},
		"one that is not there yet":  {"/etc", []string{"/etc/ssl/key"}, []string{"/etc/box", "/etc/passwd", "/etc/ssl/cert"}},
		"the folder itself":          {"/etc", []string{"/etc"}, nil},
		"what it is in":              {"/etc/ssl", []string{"/etc"}, nil},
		"a folder that is not there": {"/opt", []string{"/opt/token"}, nil},
		"the root":                   {"/", []string{"/etc/box"}, []string{"/etc/passwd", "/etc/ssl"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, r := range around(root, fileRule{Path: tt.folder, Rights: mayRun, Except: tt.except}) {
				require.Empty(t, r.Except)
				if r.Rights == unix.LANDLOCK_ACCESS_FS_READ_DIR {
					r.Path = list + r.Path
				} else {
					require.EqualValues(t, mayRun, r.Rights)
				}
				got = append(got, r.Path)
			}
			slices.Sort(got)
			slices.Sort(tt.want)
			require.Equal(t, tt.want, got)
		})
	}
}
