package glassbox

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/glassbox-dev/glassbox"

// The import graph is read from docs/architecture.md, so that the picture and
// the code cannot drift apart. A line "a, b: c, d" says that a and b may import
// c and d (and what is below their folders) and nothing else of ours.

// TestImportsFollowThePicture compares the picture with `go list`.
func TestImportsFollowThePicture(t *testing.T) {
	allowed, heavy := readPicture(t)
	for _, pkg := range listPackages(t) {
		folder := strings.TrimPrefix(pkg.ImportPath, module+"/")
		rule, known := longest(allowed, folder)
		require.True(t, known, "%s is in no line of the picture in docs/architecture.md; add it there, with what it may import", folder)
		for _, imported := range pkg.Imports {
			if own, ok := strings.CutPrefix(imported, module+"/"); ok {
				within := strings.HasPrefix(own+"/", rule+"/")
				require.True(t, within || slices.ContainsFunc(allowed[rule], func(a string) bool { return strings.HasPrefix(own+"/", a+"/") }),
					"%s imports %s, which the picture in docs/architecture.md does not allow: the line of %q lists %v", folder, own, rule, allowed[rule])
			}
			for library, owner := range heavy {
				require.False(t, strings.HasPrefix(imported+"/", library+"/") && !strings.HasPrefix(folder+"/", owner+"/"),
					"%s imports %s; only %s may, so that it can be replaced in one place", folder, library, owner)
			}
		}
	}
}

type listed struct {
	ImportPath string
	Imports    []string
}

func listPackages(t *testing.T) []listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	require.NoError(t, err)
	var all []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var pkg listed
		err := d.Decode(&pkg)
		if errors.Is(err, io.EOF) {
			require.Greater(t, len(all), 5)
			return all
		}
		require.NoError(t, err)
		if pkg.ImportPath != module {
			all = append(all, pkg)
		}
	}
}

// readPicture reads the two fenced blocks "imports" and "heavy".
func readPicture(t *testing.T) (allowed map[string][]string, heavy map[string]string) {
	t.Helper()
	raw, err := os.ReadFile("docs/architecture.md")
	require.NoError(t, err)
	allowed, heavy = map[string][]string{}, map[string]string{}
	for _, line := range block(t, string(raw), "imports") {
		left, right, ok := strings.Cut(line, ":")
		require.True(t, ok, "line %q of the picture has no colon", line)
		for _, folder := range fields(left) {
			allowed[folder] = append(allowed[folder], fields(right)...)
		}
	}
	for _, line := range block(t, string(raw), "heavy") {
		library, owner, ok := strings.Cut(line, ":")
		require.True(t, ok, "line %q has no colon", line)
		heavy[strings.TrimSpace(library)] = strings.TrimSpace(owner)
	}
	return allowed, heavy
}

func block(t *testing.T, text, name string) []string {
	t.Helper()
	_, rest, ok := strings.Cut(text, "```"+name+"\n")
	require.True(t, ok, "docs/architecture.md has no block %q", name)
	body, _, ok := strings.Cut(rest, "\n```")
	require.True(t, ok)
	return strings.Split(body, "\n")
}

func fields(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

// longest finds the most exact line for a folder.
func longest(allowed map[string][]string, folder string) (string, bool) {
	best, found := "", false
	for rule := range allowed {
		if strings.HasPrefix(folder+"/", rule+"/") && len(rule) >= len(best) {
			best, found = rule, true
		}
	}
	return best, found
}
