package exec_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/sandbox"
	"github.com/glassbox-dev/glassbox/sandbox/runtime/exec"
)

func TestTry(t *testing.T) {
	r := startRuntime(t, exec.Config{})
	rep, err := r.Isolation(t.Context())
	require.NoError(t, err)
	t.Logf("%+v", rep)
	for _, level := range []string{"process", "namespaces"} {
		task := sh(`id; ls /; ls /proc; echo $TMPDIR; cat /proc/self/status | grep -E "Cap|Seccomp|NoNew"; cat /proc/self/limits | grep realtime; cat /proc/self/cgroup; env; ls -la /proc/self/fd; exit 7`)
		task.Isolation = level
		task.Limits = &sandbox.Limits{MemoryMB: 64, Pids: 20, CPUs: 0.5}
		p := start(t, r, task)
		e := exit(t, p)
		t.Logf("%s %+v %+v %d\n", level, p.Isolation(), e, p.OSPID())
		for _, l := range lines(t, task.Log) {
			t.Log(l)
		}
	}
}
