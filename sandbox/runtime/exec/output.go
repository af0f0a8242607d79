package exec

import (
	"bytes"
	"io"
	"os"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/glassbox-dev/glassbox/sandbox"
)

// Limits of reading output.
const (
	maxLine   = 16 << 10        // bytes; a longer line is split
	chunkSize = 64 << 10        // bytes read at once: a pipe's capacity
	drainTime = 2 * time.Second // for the rest of the output after the end of a tree
)

// openOutput makes a pipe for output: the node's end to read from, and the
// descriptor that is passed to the program.
func openOutput() (ours *os.File, theirs int, err error) { return openPipe("output", 0) }

// openInput makes a pipe for input: the node's end to write to, and the
// descriptor that is passed to the program.
func openInput() (ours *os.File, theirs int, err error) { return openPipe("input", 1) }

// openPipe makes a pipe of which the node takes one end, and waits for it as for
// a socket; the other one blocks, as programs expect.
func openPipe(name string, end int) (ours *os.File, theirs int, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, 0, err
	}
	if err := unix.SetNonblock(fds[end], true); err != nil {
		closeAll(fds[:])
		return nil, 0, err
	}
	return os.NewFile(uintptr(fds[end]), name), fds[1-end], nil
}

// metered is output whose bytes are counted.
type metered struct {
	io.Reader
	p *Process
}

func (m metered) Read(b []byte) (int, error) {
	n, err := m.Reader.Read(b)
	m.p.printed(n)
	return n, err
}

// capture reads a program's output into its log until the end of it.
func capture(file io.Reader, log *sandbox.Log, stream sandbox.Stream, pid string) {
	var s splitter
	chunk := make([]byte, 4<<10) // most programs say little
	for {
		n, err := file.Read(chunk)
		if n > 0 && log != nil {
			kept, over := last(chunk[:n], log.Room())
			if over > 0 {
				s.partial = nil
				log.Skip(over, n-len(kept)-over)
			}
			add(log, stream, pid, s.split(kept))
		}
		if n == len(chunk) && n < chunkSize {
			chunk = make([]byte, chunkSize)
		}
		if err != nil {
			break
		}
	}
	if log != nil {
		add(log, stream, pid, s.rest())
	}
}

// last cuts a chunk down to its last lines, as many as a log has room for, and
// counts the others: a flood shall cost little.
func last(chunk []byte, room int) (kept []byte, over int) {
	over = bytes.Count(chunk, []byte{'\n'}) - room
	if over <= 0 {
		return chunk, 0
	}
	from := len(chunk)
	for range room + 1 {
		from = bytes.LastIndexByte(chunk[:from], '\n')
	}
	return chunk[from+1:], over
}

// add puts lines into a log.
func add(log *sandbox.Log, stream sandbox.Stream, pid string, lines [][]byte) {
	texts := make([]string, len(lines))
	for i, line := range lines {
		texts[i] = string(bytes.ToValidUTF8(line, []byte("\uFFFD")))
	}
	log.Append(time.Now(), stream, pid, texts...)
}

// splitter splits output into lines. What it returns is valid until its next
// call.
type splitter struct{ partial []byte }

// split returns the lines that the chunk completes.
func (s *splitter) split(chunk []byte) [][]byte {
	var lines [][]byte
	for len(chunk) > 0 {
		end := bytes.IndexByte(chunk, '\n')
		complete := end >= 0
		if !complete {
			end = len(chunk)
		}
		room := maxLine - len(s.partial)
		if end > room { // too long: cut it here
			line, over := cutRune(s.join(chunk[:room]))
			lines = append(lines, line)
			s.partial = append(s.partial, over...)
			chunk = chunk[room:]
			continue
		}
		if !complete {
			s.partial = append(s.partial[:len(s.partial):len(s.partial)], chunk...)
			break
		}
		lines = append(lines, bytes.TrimSuffix(s.join(chunk[:end]), []byte{'\r'}))
		chunk = chunk[end+1:]
	}
	return lines
}

// cutRune cuts the beginning of a character off the end of a line that is cut
// short: it goes to the next line, whole. What is no UTF-8 is left alone.
func cutRune(line []byte) (kept, over []byte) {
	for n := 1; n < utf8.UTFMax && n < len(line); n++ {
		tail := line[len(line)-n:]
		if utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				return line[:len(line)-n], tail
			}
			break
		}
	}
	return line, nil
}

// join completes the partial line.
func (s *splitter) join(tail []byte) []byte {
	if len(s.partial) == 0 {
		return tail
	}
	line := append(s.partial, tail...)
	s.partial = nil
	return line
}

// rest returns the last line if it has no end.
func (s *splitter) rest() [][]byte {
	if len(s.partial) == 0 {
		return nil
	}
	return [][]byte{s.partial}
}
