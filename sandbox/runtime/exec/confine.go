package exec

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// confineArgument after "guardian" makes the binary the shim: the last stage
// before a confined program, inside its namespaces, which takes on what cannot be
// put on from outside and becomes the program.
const confineArgument = "confine"

// Descriptors of the shim.
const (
	shimSocket = 3 + iota // to the guardian; closed by the program's exec, which says that it runs
	shimBinary            // the node's own program, which no path inside may lead to
	shimStdio             // and the two after: the program's own 0, 1 and 2
	shimFiles  = shimStdio + 3
)

// ownBinary is the path of the shim's own program wherever it is run.
var ownBinary = fmt.Sprintf("/proc/self/fd/%d", shimBinary)

// shimPlan is what the shim is to do.
type shimPlan struct {
	Path    string   `json:"path"` // "": the node's own program
	Argv    []byte   `json:"argv"` // packed
	Env     []byte   `json:"env"`  // packed
	Dir     string   `json:"dir"`
	Rlimits []rlimit `json:"rlimits,omitempty"`
	Rules   rules    `json:"rules"`
	Filter  []byte   `json:"filter,omitempty"`
	NoCaps  bool     `json:"no_caps,omitempty"` // it is root, and is to have none of root's powers
	Wait    bool     `json:"wait,omitempty"`    // for the word to go, before the program
	Probe   bool     `json:"probe,omitempty"`   // report what works instead of starting a program
	Work    string   `json:"work,omitempty"`    // where a probe may write
}

type rlimit struct {
	Resource int    `json:"resource"`
	Value    uint64 `json:"value"`
}

// shimReport is what the shim says: a greeting first; nothing more when its
// program runs, else why not.
type shimReport struct {
	Stage  string            `json:"stage,omitempty"`
	Error  string            `json:"error,omitempty"`
	Code   int               `json:"code,omitempty"`   // errno
	Faults map[string]string `json:"faults,omitempty"` // of a probe: what does not work
}

// confineMain is the main function of the shim. It returns only when the program
// could not be started.
func confineMain() int {
	runtime.LockOSThread() // the restrictions are the thread's, and so is the exec
	if err := unix.Send(shimSocket, []byte("{}"), unix.MSG_NOSIGNAL); err != nil {
		fmt.Fprintf(os.Stderr, "the shim is started by a guardian, not by hand: descriptor %d: %v\n", shimSocket, err)
		return 2
	}
	plan, err := receivePlan()
	if err == nil {
		err = plan.carryOut()
	}
	report := shimReport{Stage: "confine", Error: fmt.Sprint(err)}
	var at *stageError
	if errors.As(err, &at) {
		report.Stage = at.stage
	}
	var number syscall.Errno
	if errors.As(err, &number) {
		report.Code = int(number)
	}
	sendReport(report)
	return 127
}

// sendReport says how it went; a guardian that is gone does not hear it.
func sendReport(r shimReport) {
	raw, _ := json.Marshal(r) // strings and numbers marshal
	_ = unix.Send(shimSocket, raw, unix.MSG_NOSIGNAL)
}

func receivePlan() (shimPlan, error) {
	var plan shimPlan
	size, _, err := unix.Recvfrom(shimSocket, nil, unix.MSG_PEEK|unix.MSG_TRUNC)
	if err != nil || size == 0 {
		return plan, fmt.Errorf("no plan came: %w", err)
	}
	raw := make([]byte, size)
	if _, _, err := unix.Recvfrom(shimSocket, raw, 0); err != nil {
		return plan, err
	}
	return plan, json.Unmarshal(raw, &plan)
}

// stageError says at which step it failed.
type stageError struct {
	stage string
	err   error
}

func (e *stageError) Error() string { return e.stage + ": " + e.err.Error() }
func (e *stageError) Unwrap() error { return e.err }

// carryOut does what the plan says, and returns only with an error. The order
// matters: what comes later may not be allowed any more.
func (p shimPlan) carryOut() error {
	for i := range 3 {
		if err := unix.Dup3(shimStdio+i, i, 0); err != nil {
			return &stageError{"output", err}
		}
	}
	// Everything else closes at the exec.
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return &stageError{"close", err}
	}
	if p.Probe {
		sendReport(p.probe())
		unix.Exit(0)
	}
	if err := unix.Chdir(p.Dir); err != nil {
		return &stageError{"chdir", err}
	}
	if p.NoCaps {
		if err := dropCapabilities(); err != nil {
			return &stageError{"capabilities", err}
		}
	}
	p.Rules.FD = shimBinary
	if err := restrict(p.Rules); err != nil {
		return &stageError{"landlock", err}
	}
	path, argv, env := p.Path, unpack(p.Argv), unpack(p.Env)
	if path == "" {
		path = ownBinary
	}
	for _, l := range p.Rlimits { // last: this process itself may be above them
		if err := unix.Setrlimit(l.Resource, &unix.Rlimit{Cur: l.Value, Max: l.Value}); err != nil {
			return &stageError{"limits", err}
		}
	}
	if err := loadFilter(p.Filter); err != nil {
		return &stageError{"seccomp", err}
	}
	if p.Wait {
		if n, _, err := unix.Recvfrom(shimSocket, make([]byte, 8), 0); err != nil || n == 0 {
			return &stageError{"wait", fmt.Errorf("the guardian is gone: %w", err)}
		}
	}
	return &stageError{"exec", syscall.Exec(path, argv, env)}
}

// loadFilter puts this thread, and what it starts, under a filter of system calls.
func loadFilter(packed []byte) error {
	const size = int(unsafe.Sizeof(unix.SockFilter{}))
	if len(packed) == 0 {
		return nil
	}
	program := unix.SockFprog{Len: uint16(len(packed) / size), Filter: (*unix.SockFilter)(unsafe.Pointer(&packed[0]))}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return errno
	}
	return nil
}

// dropCapabilities takes root's powers from a process that has to stay root.
func dropCapabilities() error {
	for c := range unix.CAP_LAST_CAP + 1 {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
			return err
		}
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	return unix.Capset(&head, &none[0])
}
