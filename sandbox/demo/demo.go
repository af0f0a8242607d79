// Package demo is the sandbox built into the binary: two trivial programs that
// print a line a second, and the spec that runs them.
//
//	glassbox demo counter
//	glassbox demo printer
package demo

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/glassbox-dev/glassbox/sandbox"
)

// Counter prints 1, 2, 3 … a line a second, until ctx ends or out fails.
func Counter(ctx context.Context, out io.Writer) error {
	n := 0
	return everySecond(ctx, func(time.Time) error {
		n++
		_, err := fmt.Fprintf(out, "count %d\n", n)
		return err
	})
}

// Printer prints the time, a line a second, until ctx ends or out fails.
func Printer(ctx context.Context, out io.Writer) error {
	return everySecond(ctx, func(now time.Time) error {
		_, err := fmt.Fprintf(out, "it is %s\n", now.UTC().Format(time.RFC3339))
		return err
	})
}

// everySecond calls f now and every second; nil when ctx ends.
func everySecond(ctx context.Context, f func(time.Time) error) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for now := time.Now(); ; {
		if err := f(now); err != nil {
			return err
		}
		select {
		case now = <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Spec is the demo sandbox; exe is the absolute path of the glassbox binary.
func Spec(exe string) sandbox.Spec {
	child := func(name string) sandbox.Child {
		return sandbox.Child{ID: name, Run: &sandbox.Run{Exec: []string{exe, "demo", name}}}
	}
	return sandbox.Spec{
		ID:       "demo",
		Labels:   map[string]string{"demo": "true"},
		Children: []sandbox.Child{child("counter"), child("printer")},
	}
}
