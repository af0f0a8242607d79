package testcontainers

import (
	"debug/elf"
	"fmt"
	"runtime"
)

// machine is a kind of machine by the names that it has.
type machine struct {
	goarch string
	elf    elf.Machine
}

// machines are those that an engine may have, by what uname says.
var machines = map[string]machine{
	"x86_64":  {"amd64", elf.EM_X86_64},
	"aarch64": {"arm64", elf.EM_AARCH64},
	"armv7l":  {"arm", elf.EM_ARM},
	"ppc64le": {"ppc64le", elf.EM_PPC64},
	"riscv64": {"riscv64", elf.EM_RISCV},
	"s390x":   {"s390x", elf.EM_S390},
}

// runs refuses programs that the engine's machine could not run: it would only
// say that their format is wrong.
func (e *engine) runs(o Options) error {
	m, known := machines[e.arch]
	if !known {
		return nil
	}
	if err := m.runs(o.Binary); err != nil {
		return err
	}
	if o.Helper != "" {
		return m.runs(o.Helper)
	}
	if runtime.GOARCH != m.goarch { // it would be compiled for this machine
		return fmt.Errorf("the engine's machine is %s, this one %s: build %s with GOARCH=%s and name it in Options.Helper",
			m.goarch, runtime.GOARCH, helperProgram, m.goarch)
	}
	return nil
}

func (m machine) runs(binary string) error {
	f, err := elf.Open(binary)
	if err != nil {
		return err
	}
	defer f.Close()
	if f.Machine != m.elf {
		return fmt.Errorf("%s is for another machine (%s) than the engine's; build it with GOARCH=%s", binary, f.Machine, m.goarch)
	}
	return nil
}
