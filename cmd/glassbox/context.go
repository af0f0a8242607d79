package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// clusterContext is the file by which commands find the cluster that
// `glassbox dev` runs.
type clusterContext struct {
	Cluster string   `json:"cluster"`
	Addrs   []string `json:"addrs"` // the nodes' HTTP
	PID     int      `json:"pid"`   // of the dev command
}

// contextPath is where the file is; "" if this user has no place for it.
func (a *app) contextPath() string {
	dir := a.getenv("XDG_CONFIG_HOME")
	if dir == "" {
		home := a.getenv("HOME")
		if home == "" {
			return ""
		}
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, "glassbox", "context.json")
}

func readContext(path string) (clusterContext, error) {
	var c clusterContext
	raw, err := os.ReadFile(path)
	if err != nil {
		return c, err
	}
	err = json.Unmarshal(raw, &c)
	return c, err
}

// writeContext replaces the file as a whole, so that nobody reads half of it.
func writeContext(path string, c clusterContext) error {
	raw, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(path), ".context-*")
	if err != nil {
		return err
	}
	_, err = temp.Write(append(raw, '\n'))
	err = errors.Join(err, temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(temp.Name()))
	}
	return err
}

// removeContext removes the file if it is still that process's.
func removeContext(path string, pid int) error {
	c, err := readContext(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && c.PID != pid {
		return nil
	}
	return errors.Join(err, os.Remove(path))
}
