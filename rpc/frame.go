package rpc

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// MessageConn carries whole messages, one JSON text each: a WebSocket, say.
// ReadMessage's result is the caller's to keep. Close makes a ReadMessage that
// waits return.
type MessageConn interface {
	ReadMessage() ([]byte, error)
	WriteMessage(message []byte, deadline time.Time) error
	Close() error
}

// lines frames messages on a byte stream: one JSON text per line.
type lines struct {
	nc    net.Conn
	r     *bufio.Reader
	limit int
}

func newLines(nc net.Conn, limit int, lastRead *atomic.Int64) *lines {
	return &lines{nc: nc, r: bufio.NewReaderSize(&stampedReader{nc, lastRead}, 16<<10), limit: limit}
}

// stampedReader notes when bytes came.
type stampedReader struct {
	net.Conn
	lastRead *atomic.Int64
}

func (s *stampedReader) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	if n > 0 {
		s.lastRead.Store(time.Now().UnixNano())
	}
	return n, err
}

func errTooLarge(limit int) *errs.Error {
	return errs.New(errs.TooLarge, "a message is longer than the limit of %d bytes; send less at once, or page", limit)
}

// ReadMessage returns the next line that is not empty.
func (l *lines) ReadMessage() ([]byte, error) {
	var message []byte
	for {
		part, err := l.r.ReadSlice('\n')
		if len(message)+len(part) > l.limit+1 {
			return nil, errTooLarge(l.limit)
		}
		message = append(message, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err == io.EOF && len(bytes.TrimSpace(message)) > 0:
			return message, nil // the last line may lack its end
		case err != nil:
			return nil, err
		}
		if len(bytes.TrimSpace(message)) > 0 {
			return message, nil
		}
		message = message[:0]
	}
}

// write sends a batch of lines.
func (l *lines) write(batch []byte, deadline time.Time) error {
	if err := l.nc.SetWriteDeadline(deadline); err != nil {
		return err
	}
	_, err := l.nc.Write(batch)
	return err
}

func (l *lines) Close() error { return l.nc.Close() }

// messages frames nothing: the connection already does.
type messages struct {
	mc       MessageConn
	limit    int
	lastRead *atomic.Int64
}

func (m *messages) ReadMessage() ([]byte, error) {
	message, err := m.mc.ReadMessage()
	if err == nil {
		m.lastRead.Store(time.Now().UnixNano())
	}
	if len(message) > m.limit {
		return nil, errTooLarge(m.limit)
	}
	return message, err
}

func (m *messages) write(batch []byte, deadline time.Time) error {
	for line := range bytes.Lines(batch) {
		if err := m.mc.WriteMessage(bytes.TrimSuffix(line, []byte("\n")), deadline); err != nil {
			return err
		}
	}
	return nil
}

func (m *messages) Close() error { return m.mc.Close() }
