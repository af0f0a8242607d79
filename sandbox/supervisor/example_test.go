package supervisor_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/glassbox-dev/glassbox/sandbox/supervisor"
)

// group is a tree as a document tells it: a group without members is a program.
type group struct {
	name    string
	members []group
}

// spec makes the spec of a supervisor: one call of NewNested for each below it.
func (g group) spec(path string, hook func(supervisor.Event)) (supervisor.Spec, error) {
	spec := supervisor.Spec{Strategy: supervisor.OneForOne, Intensity: supervisor.Intensity{MaxRestarts: 3, Period: 5 * time.Second}}
	for _, m := range g.members {
		child := supervisor.ChildSpec{ID: m.name, Restart: supervisor.Permanent, Shutdown: time.Second}
		if m.members == nil {
			child.Child = start(func(context.Context) (supervisor.Instance, error) {
				return &worker{done: make(chan struct{}), stopped: func() {}}, nil
			})
		} else {
			inner, err := m.spec(path+"/"+m.name, hook)
			if err != nil {
				return spec, err
			}
			nested, err := supervisor.NewNested(inner, supervisor.Options{Name: path + "/" + m.name, OnEvent: hook})
			if err != nil {
				return spec, fmt.Errorf("supervisor %s: %w", m.name, err)
			}
			child.Type, child.Child = supervisor.TypeSupervisor, nested
		}
		spec.Children = append(spec.Children, child)
	}
	return spec, nil
}

// A tree of any depth is made by recursion; every supervisor in it is reached
// from the one above.
func ExampleNewNested() {
	shop := group{"shop", []group{{"cache", nil}, {"workers", []group{{"w1", nil}, {"spare", []group{{"w2", nil}}}}}}}
	hook := func(e supervisor.Event) {
		if e, ok := e.(supervisor.AllRunning); ok {
			fmt.Println(e.Supervisor, "runs")
		}
	}
	spec, err := shop.spec("shop", hook)
	if err != nil {
		fmt.Println(err)
		return
	}
	root, err := supervisor.New(spec, supervisor.Options{Name: "shop", OnEvent: hook})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- root.Serve(ctx) }()
	show(ctx, root, 0)
	cancel()
	fmt.Println(<-served)
	// Output:
	// shop/workers/spare runs
	// shop/workers runs
	// shop runs
	// cache worker running
	// workers supervisor running
	//   w1 worker running
	//   spare supervisor running
	//     w2 worker running
	// <nil>
}

func show(ctx context.Context, s *supervisor.Supervisor, depth int) {
	children, err := s.WhichChildren(ctx)
	if err != nil {
		fmt.Println(err)
	}
	for _, c := range children {
		fmt.Println(strings.Repeat("  ", depth)+c.ID, c.Type, c.State)
		if nested := c.Supervisor(); nested != nil {
			show(ctx, nested, depth+1)
		}
	}
}
