package exec

import (
	"bytes"
	"strings"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// maxProgram bounds a program's arguments and environment, in bytes with one
// for the end of each: what a spec may have (96 KiB, without the ends) fits even
// if each argument is a single byte, and what every program is given.
const maxProgram = 2*96<<10 + 4<<10

// packProgram packs a program's arguments and environment. A NUL ends each string,
// so none may have one in it; then a message carries them in base64. JSON's
// escapes could make six bytes of one, and the kernel takes no message that big.
func packProgram(path string, argv, env []string) (packedArgv, packedEnv []byte, err error) {
	packedArgv, packedEnv = pack(argv), pack(env)
	size := len(packedArgv) + len(packedEnv)
	switch {
	case bytes.Count(packedArgv, []byte{0}) != len(argv) || bytes.Count(packedEnv, []byte{0}) != len(env):
		return nil, nil, errs.New(errs.BadSpec, "program %q has an argument or a variable with a NUL character in it, which no program can be given", path)
	case size > maxProgram:
		return nil, nil, errs.New(errs.BadSpec, "program %q has too many arguments or too large an environment: %d bytes, and may have %d: pass them in a file",
			path, size, maxProgram)
	}
	return packedArgv, packedEnv, nil
}

func pack(list []string) []byte {
	var b bytes.Buffer
	for _, s := range list {
		b.WriteString(s)
		b.WriteByte(0)
	}
	return b.Bytes()
}

func unpack(packed []byte) []string {
	if len(packed) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(packed), "\x00"), "\x00")
}
