package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// create starts a sandbox from a file.
func (a *app) create() *cobra.Command {
	wait, node := "", ""
	cmd := &cobra.Command{
		Use: "create FILE", Short: "Start a sandbox", Args: exactly("FILE"),
		Long: "Starts the sandbox that FILE describes, in YAML or JSON; - is the standard input.\n" +
			"A program with a path that is not absolute is looked for beside FILE. Its folder is then mounted, to be\n" +
			"read, so that the program is there at every level of isolation; a mount with a source that is not\n" +
			"absolute is one beside FILE too.",
		Example: "  glassbox sandbox create pair.yaml --node n2",
		RunE: func(cmd *cobra.Command, args []string) error {
			params, err := a.readSpec(args[0])
			if err != nil {
				return err
			}
			for name, value := range map[string]string{"wait": wait, "node": node} {
				if value == "" {
					continue
				}
				if params[name], err = json.Marshal(value); err != nil {
					return err
				}
			}
			result, err := a.ask(cmd.Context(), "sandbox.create", params)
			if err != nil {
				return err
			}
			return a.show("sandbox.create", result)
		},
	}
	cmd.Flags().StringVar(&wait, "wait", "", "running: answer when it runs; placed: answer as soon as it is placed; running if not given")
	cmd.Flags().StringVar(&node, "node", "", "the node it is to run on")
	return cmd
}

// readSpec reads a spec and makes its paths absolute.
func (a *app) readSpec(file string) (map[string]json.RawMessage, error) {
	dir := "."
	read := func() ([]byte, error) { return argument(a.in, file) }
	if file != "-" {
		dir = filepath.Dir(file)
		read = func() ([]byte, error) { return os.ReadFile(file) }
	}
	raw, err := read()
	if err != nil {
		return nil, errs.Wrap(errs.BadParameter, err, "the spec cannot be read")
	}
	converted, err := toJSON(raw)
	if err != nil {
		return nil, err
	}
	var spec map[string]any
	if err := json.Unmarshal(converted, &spec); err != nil {
		return nil, errs.New(errs.BadParameter, "%s must hold an object with id and children", file)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, errs.Wrap(errs.BadParameter, err, "the folder of the spec is unknown")
	}
	folders := map[string]bool{}
	absolute(spec, dir, folders)
	mount(spec, dir, folders)
	params := map[string]json.RawMessage{}
	for name, value := range spec {
		if params[name], err = json.Marshal(value); err != nil {
			return nil, err
		}
	}
	return params, nil
}

// absolute resolves the relative paths of a tree's programs and working
// directories, and notes the folders of such programs. What is not of the expected
// form is left for the node to refuse.
func absolute(tree map[string]any, dir string, folders map[string]bool) {
	if run, ok := tree["run"].(map[string]any); ok {
		if exec, ok := run["exec"].([]any); ok && len(exec) > 0 {
			if program, ok := exec[0].(string); ok && strings.Contains(program, "/") && !filepath.IsAbs(program) {
				exec[0] = filepath.Join(dir, program)
				folders[filepath.Dir(filepath.Join(dir, program))] = true
			}
		}
		if path, ok := run["dir"].(string); ok && path != "" {
			run["dir"] = join(dir, path)
		}
	}
	children, _ := tree["children"].([]any)
	for _, child := range children {
		if child, ok := child.(map[string]any); ok {
			absolute(child, dir, folders)
		}
	}
}

// mount resolves the sources of the mounts, and adds the folders to them.
func mount(spec map[string]any, dir string, folders map[string]bool) {
	mounts, ok := spec["mounts"].([]any)
	if spec["mounts"] != nil && !ok {
		return
	}
	for _, m := range mounts {
		m, ok := m.(map[string]any)
		if !ok {
			return
		}
		if source, ok := m["source"].(string); ok {
			m["source"] = join(dir, source)
		}
		if target, ok := m["target"].(string); ok {
			delete(folders, filepath.Clean(target))
		}
	}
	for _, folder := range slices.Sorted(maps.Keys(folders)) {
		mounts = append(mounts, map[string]any{"source": folder, "target": folder, "readonly": true})
	}
	if len(mounts) > 0 {
		spec["mounts"] = mounts
	}
}

func join(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
