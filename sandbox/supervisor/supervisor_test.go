package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/sandbox/supervisor"
)

// fake is a child in virtual time.
type fake struct {
	id     string
	life   time.Duration // ends by itself after; 0 never
	slow   time.Duration // needs so long to stop
	fails  int           // so many starts fail, after the first; all if negative
	hangs  bool          // a start takes until it is cancelled
	starts int
	story  *diary
}

// diary takes lines from several goroutines.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) add(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

type fakeInstance struct {
	child *fake
	done  chan struct{}
	stop  chan time.Duration
}

func (f *fake) Start(ctx context.Context) (supervisor.Instance, error) {
	f.starts++
	if f.hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if f.fails > 0 && f.starts > 1 || f.fails < 0 {
		f.fails--
		return nil, errors.Join(errors.New("refused"), ctx.Err())
	}
	in := &fakeInstance{child: f, done: make(chan struct{}), stop: make(chan time.Duration, 1)}
	go in.live()
	return in, nil
}

func (i *fakeInstance) live() {
	defer close(i.done)
	var end <-chan time.Time
	if i.child.life > 0 {
		end = time.After(i.child.life)
	}
	select {
	case <-end:
	case grace := <-i.stop:
		time.Sleep(min(grace, i.child.slow))
	}
}

func (i *fakeInstance) Done() <-chan struct{}             { return i.done }
func (i *fakeInstance) Exit() (supervisor.Reason, string) { return supervisor.ReasonAbnormal, "ended" }
func (i *fakeInstance) Stop(grace time.Duration) {
	i.child.story.add("stop %s within %s", i.child.id, grace)
	i.stop <- grace
	<-i.done
}

// serve runs a supervisor of fakes in a bubble; its context ends after a time.
func serve(t *testing.T, after time.Duration, max int, children ...*fake) (story []string, took time.Duration, err error) {
	var told diary
	synctest.Test(t, func(t *testing.T) {
		s := spec(max)
		for _, c := range children {
			c.story = &told
			s.Children = append(s.Children, supervisor.ChildSpec{
				ID: c.id, Restart: supervisor.Permanent, Shutdown: 3 * time.Second, Child: c,
			})
		}
		sup, e := supervisor.New(s, supervisor.Options{OnEvent: func(e supervisor.Event) {
			told.add("%T %+v", e, e)
		}})
		require.NoError(t, e)
		ctx, cancel := context.WithTimeout(t.Context(), after)
		defer cancel()
		begin := time.Now()
		err = sup.Serve(ctx)
		took = time.Since(begin)
	})
	return told.lines, took, err
}

func TestServeStopsInReverseWithGrace(t *testing.T) {
	story, took, err := serve(t, time.Minute, 3, &fake{id: "a", slow: time.Second}, &fake{id: "b", slow: time.Hour})
	require.NoError(t, err)
	require.Equal(t, []string{
		"supervisor.ChildStarted {Supervisor: Child:a Restart:false}",
		"supervisor.ChildStarted {Supervisor: Child:b Restart:false}",
		"supervisor.AllRunning {Supervisor:}",
		"supervisor.ChildStopping {Supervisor: Child:b Grace:3s}",
		"stop b within 3s",
		"supervisor.ChildExited {Supervisor: Child:b Reason:abnormal Why:ended}",
		"supervisor.ChildStopping {Supervisor: Child:a Grace:3s}",
		"stop a within 3s",
		"supervisor.ChildExited {Supervisor: Child:a Reason:abnormal Why:ended}",
	}, story)
	require.Equal(t, time.Minute+4*time.Second, took)
}

func TestServeGivesUp(t *testing.T) {
	story, took, err := serve(t, time.Minute, 3, &fake{id: "a"}, &fake{id: "b", life: time.Second})
	var gaveUp *supervisor.IntensityError
	require.ErrorAs(t, err, &gaveUp)
	require.Equal(t, 4*time.Second, took)
	require.Contains(t, story, "stop a within 3s")
}

func TestServeRetriesFailedRestarts(t *testing.T) {
	child := &fake{id: "a", life: 10 * time.Second, fails: 2}
	_, took, err := serve(t, 15*time.Second, 3, child)
	require.NoError(t, err)
	require.Equal(t, 15*time.Second, took)
	require.Equal(t, 4, child.starts)
}

func TestServeFirstStartFails(t *testing.T) {
	story, _, err := serve(t, time.Minute, 3, &fake{id: "a"}, &fake{id: "b", fails: -1})
	var failed *supervisor.StartError
	require.ErrorAs(t, err, &failed)
	require.ErrorContains(t, err, "refused")
	require.Contains(t, story, "stop a within 3s")
}

func TestServeEndsInARestartStorm(t *testing.T) {
	_, took, err := serve(t, 0, 1<<30, &fake{id: "a", fails: -1})
	require.NoError(t, err)
	require.Zero(t, took)
}
