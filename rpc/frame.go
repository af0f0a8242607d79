package rpc

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// MessageConn carries whole messages, one JSON text each: a WebSocket, say.
// ReadMessage's result is the caller's to keep. Close makes a ReadMessage that
// waits return. It is the MessageConn that bounds how long a message may take
// to arrive.
type MessageConn interface {
	ReadMessage() ([]byte, error)
	WriteMessage(message []byte, deadline time.Time) error
	Close() error
}

// lines frames messages on a byte stream: one JSON text per line.
type lines struct {
	nc net.Conn
	r  *bufio.Reader
	c  *Conn
}

func newLines(nc net.Conn, c *Conn) *lines {
	return &lines{nc: nc, r: bufio.NewReaderSize(&pacedReader{Conn: nc, c: c}, 16<<10), c: c}
}

// errTooLarge is told to a peer whose message is over the limit in force.
func (c *Conn) errTooLarge() *errs.Error {
	limit := int(c.limit.Load())
	if limit < c.cfg.MaxMessage {
		return errs.New(errs.TooLarge, "a message is longer than %d bytes, the limit before a handshake, a login or a first request that is answered; begin with a shorter one", limit)
	}
	return errs.New(errs.TooLarge, "a message is longer than the limit of %d bytes; send less at once, or page", limit)
}

// ReadMessage returns the next line that is not empty.
func (l *lines) ReadMessage() ([]byte, error) {
	var line []byte
	for {
		part, err := l.r.ReadSlice('\n')
		line = append(line, part...)
		switch text := withoutEnd(line); {
		case len(text) > int(l.c.limit.Load()):
			return nil, l.c.errTooLarge()
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, errs.New(errs.Timeout, "a message was begun and its end did not come within %s; send it faster, or less at once", l.c.cfg.MessageTimeout)
		case err != nil && (err != io.EOF || len(bytes.TrimSpace(text)) == 0):
			return nil, err
		case len(bytes.TrimSpace(text)) > 0:
			return text, nil // the last line may lack its end
		}
		line = line[:0]
	}
}

// withoutEnd takes the end of the line off, which does not count.
func withoutEnd(line []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte{'\n'}), []byte{'\r'})
}

// writePiece is how much is written within one deadline.
const writePiece = 64 << 10

// write sends a piece of a batch of lines.
func (l *lines) write(batch []byte, deadline time.Time) (int, error) {
	if err := l.nc.SetWriteDeadline(deadline); err != nil {
		return 0, err
	}
	return l.nc.Write(batch[:min(len(batch), writePiece)])
}

func (l *lines) Close() error { return l.nc.Close() }

// pacedReader notes when bytes come, and bounds the wait for the rest of a
// message that has begun. Only the time in Read counts: while a handler runs
// inline nobody reads, and that is not the peer's fault.
type pacedReader struct {
	net.Conn
	c     *Conn
	begun bool
	left  time.Duration // for the rest of the message
}

func (p *pacedReader) Read(b []byte) (int, error) {
	var started time.Time
	if p.begun {
		started = time.Now()
		if err := p.SetReadDeadline(started.Add(p.left)); err != nil {
			return 0, err
		}
	}
	n, err := p.Conn.Read(b)
	if n == 0 {
		return 0, err
	}
	now := time.Now()
	p.c.lastRead.Store(now.UnixNano())
	if p.begun {
		p.left -= now.Sub(started)
	}
	if err == nil {
		err = p.pace(b[:n])
	}
	return n, err
}

// pace looks at what came for the ends of messages.
func (p *pacedReader) pace(got []byte) error {
	switch {
	case got[len(got)-1] == '\n': // nothing has begun
		if !p.begun {
			return nil
		}
		p.begun = false
		return p.SetReadDeadline(time.Time{})
	case !p.begun || bytes.IndexByte(got, '\n') >= 0: // another message has
		p.begun, p.left = true, p.c.cfg.MessageTimeout
	}
	return nil
}

// messages frames nothing: the connection already does.
type messages struct {
	mc MessageConn
	c  *Conn
}

func (m *messages) ReadMessage() ([]byte, error) {
	message, err := m.mc.ReadMessage()
	if err != nil {
		return nil, err
	}
	m.c.lastRead.Store(time.Now().UnixNano())
	if len(message) > int(m.c.limit.Load()) {
		return nil, m.c.errTooLarge()
	}
	return message, nil
}

// write sends the first of a batch of lines as a message.
func (m *messages) write(batch []byte, deadline time.Time) (int, error) {
	end := bytes.IndexByte(batch, '\n')
	if err := m.mc.WriteMessage(batch[:end], deadline); err != nil {
		return 0, err
	}
	return end + 1, nil
}

func (m *messages) Close() error { return m.mc.Close() }
