package harness

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// program is the import path of the node's.
const program = "github.com/glassbox-dev/glassbox/cmd/glassbox"

// Build compiles the node's program into a folder and returns the binary's
// path. It is found by its import path: the caller's module must be Glassbox or
// have it as a tool, see the package's documentation. The binary is static, so
// that it runs in an empty container too. Tags are build tags.
func Build(ctx context.Context, dir string, tags ...string) (string, error) {
	return BuildProgram(ctx, dir, program, tags...)
}

// BuildProgram compiles any program of the caller's module or one of its tools,
// statically.
func BuildProgram(ctx context.Context, dir, importPath string, tags ...string) (string, error) {
	binary := filepath.Join(dir, filepath.Base(importPath))
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w",
		"-tags", strings.Join(tags, ","), "-o", binary, importPath)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w: %s%s", importPath, err, out, advice(string(out), importPath))
	}
	return binary, nil
}

// advice is what to do about a module that does not have the program.
func advice(out, importPath string) string {
	if strings.Contains(out, "missing go.sum entry") || strings.Contains(out, "no required module provides") {
		return "make it a tool of your module: go get -tool " + importPath
	}
	return ""
}
