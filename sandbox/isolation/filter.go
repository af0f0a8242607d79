package isolation

import (
	"encoding/binary"
	"fmt"
	"slices"
	"syscall"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/glassbox-dev/glassbox/sandbox"
)

// closed are the system calls that no program has a use for and that reach into
// the kernel, into other processes, or out of the namespaces.
var closed = []string{
	// Machinery of the kernel with a long history of holes.
	"io_uring_setup", "io_uring_enter", "io_uring_register",
	"userfaultfd", "bpf", "perf_event_open", "fanotify_init", "lookup_dcookie",
	"add_key", "request_key", "keyctl",
	// Other processes.
	"ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp", "pidfd_getfd",
	// The machine.
	"kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "create_module",
	"reboot", "swapon", "swapoff", "acct", "quotactl", "quotactl_fd", "syslog", "nfsservctl",
	"iopl", "ioperm", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "stime",
	"sethostname", "setdomainname", "vhangup", "uselib", "_sysctl", "vm86", "vm86old", "modify_ldt",
	// Files by number, past every rule about paths.
	"open_by_handle_at", "name_to_handle_at",
	// Mounts and namespaces.
	"mount", "umount", "umount2", "pivot_root", "chroot", "open_tree", "open_tree_attr", "move_mount",
	"fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr", "statmount", "listmount",
	"unshare", "setns",
}

// newNamespaces are the flags of clone(2) that make namespaces.
var newNamespaces = []uint64{
	unix.CLONE_NEWNS, unix.CLONE_NEWCGROUP, unix.CLONE_NEWUTS, unix.CLONE_NEWIPC,
	unix.CLONE_NEWUSER, unix.CLONE_NEWPID, unix.CLONE_NEWNET,
}

// families are the kinds of sockets that programs need. Of the others some reach
// past every namespace, such as AF_VSOCK, and one, AF_SMC, becomes TCP past
// landlock's rule about ports.
var families = map[string][]uint64{
	sandbox.NetworkHost: {unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK},
	sandbox.NetworkNone: {unix.AF_UNIX},
}

// SharedObjects are the system calls that make System V's shared memory, queues
// and semaphores, which outlive whoever made them.
var SharedObjects = []string{"shmget", "msgget", "semget"}

// Bits of arguments. The kernel takes 32 bits of them and a filter sees 64, so an
// equality could be dodged by setting one of the others; a bit cannot.
const (
	protocolMPTCP = 0x100      // of IPPROTO_MPTCP (262) alone; it becomes TCP past landlock's rule about ports
	fastOpen      = 0x20000000 // MSG_FASTOPEN connects while sending, past the same rule
)

// Filter returns the filter of system calls, as seccomp(2) takes it, for programs
// with a network; without one all sockets but AF_UNIX are closed, so give it "host"
// where a namespace already takes the network away. What it closes fails with
// EPERM, except what a libc has another way for: that "does not exist" (ENOSYS).
// More are closed calls beside the usual ones.
func Filter(network string, more ...string) ([]byte, error) {
	info, err := arch.GetInfo("")
	if err != nil {
		return nil, fmt.Errorf("there is no filter of system calls for this processor: %w", err)
	}
	known := func(names ...string) []string {
		var list []string
		for _, name := range names {
			if _, ok := info.SyscallNames[name]; ok {
				list = append(list, name)
			}
		}
		return list
	}
	policy := seccomp.Policy{DefaultAction: seccomp.ActionAllow, Syscalls: []seccomp.SyscallGroup{
		{Action: failing(unix.EPERM), Names: known(slices.Concat(closed, more)...)},
		// Its flags are in memory, where a filter cannot look.
		{Action: failing(unix.ENOSYS), Names: known("clone3")},
		{Action: failing(unix.EPERM), NamesWithCondtions: conditions(network)},
	}}
	body, err := policy.Assemble()
	if err != nil {
		return nil, err
	}
	// The library lets the calls of the processor's other ABIs pass: the 32-bit
	// ones have other numbers, and would all be open.
	const offArch = 4
	program := append([]bpf.Instruction{
		bpf.LoadAbsolute{Off: offArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(info.ID), SkipTrue: 1},
		bpf.RetConstant{Val: uint32(failing(unix.ENOSYS))},
	}, body...)
	raw, err := bpf.Assemble(program)
	if err != nil {
		return nil, err
	}
	var packed []byte
	for _, i := range raw {
		packed = binary.NativeEndian.AppendUint16(packed, i.Op)
		packed = append(packed, i.Jt, i.Jf)
		packed = binary.NativeEndian.AppendUint32(packed, i.K)
	}
	return packed, nil
}

// conditions are the calls that are closed only with certain arguments.
func conditions(network string) []seccomp.NameWithConditions {
	var list []seccomp.NameWithConditions
	add := func(name string, c ...seccomp.Condition) {
		list = append(list, seccomp.NameWithConditions{Name: name, Conditions: c})
	}
	for _, flag := range newNamespaces {
		add("clone", seccomp.Condition{Argument: 0, Operation: seccomp.BitsSet, Value: flag})
	}
	for _, call := range []string{"socket", "socketpair"} {
		var other []seccomp.Condition
		for _, family := range families[network] {
			other = append(other, seccomp.Condition{Argument: 0, Operation: seccomp.NotEqual, Value: family})
		}
		add(call, other...)
		add(call, seccomp.Condition{Argument: 2, Operation: seccomp.BitsSet, Value: protocolMPTCP})
	}
	// RLIMIT_RTTIME, the last of sixteen, has the brand by which the guardian tells
	// programs apart: it can be read and not be changed.
	for call, argument := range map[string]uint32{"setrlimit": 0, "prlimit64": 1} {
		var c []seccomp.Condition
		for bit := uint64(1); bit < 16; bit <<= 1 {
			c = append(c, seccomp.Condition{Argument: argument, Operation: seccomp.BitsSet, Value: bit})
		}
		if call == "prlimit64" {
			c = append(c, seccomp.Condition{Argument: 2, Operation: seccomp.NotEqual, Value: 0}) // a new limit is given
		}
		add(call, c...)
	}
	for call, argument := range map[string]uint32{"sendto": 3, "sendmsg": 2, "sendmmsg": 3} {
		add(call, seccomp.Condition{Argument: argument, Operation: seccomp.BitsSet, Value: fastOpen})
	}
	return list
}

func failing(number syscall.Errno) seccomp.Action {
	return seccomp.ActionErrno&^0xffff | seccomp.Action(number)
}
