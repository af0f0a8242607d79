package exec

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// scarcity says what to raise when the system has no room for what was tried;
// "" for any other error.
func scarcity(err error) string {
	var number syscall.Errno
	if !errors.As(err, &number) {
		return ""
	}
	switch number {
	case syscall.EMFILE:
		return "raise the node's limit of open files (ulimit -n, or LimitNOFILE of its unit)"
	case syscall.ENFILE:
		return "raise the system's limit of open files (sysctl fs.file-max)"
	case syscall.EAGAIN:
		return "raise the limit of processes (ulimit -u, pids.max of its cgroup, or sysctl kernel.pid_max)"
	case syscall.ENOMEM:
		return "free memory, or allow more"
	}
	return ""
}

// fault makes an error whose kind is internal when the system has no room, with
// what to raise, and the given kind otherwise.
func fault(kind errs.Kind, err error, format string, args ...any) error {
	if raise := scarcity(err); raise != "" {
		return errs.New(errs.Internal, "%s: %v: %s", fmt.Sprintf(format, args...), err, raise)
	}
	return errs.Wrap(kind, err, format, args...)
}
