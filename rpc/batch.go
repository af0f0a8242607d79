package rpc

import (
	"bytes"
	"sync"
)

// batch collects the answers to a batch, to be sent as one array.
type batch struct {
	mu      sync.Mutex
	missing int
	answers [][]byte
}

// newBatch counts what will be answered: all but notifications and responses.
func newBatch(elements [][]byte) *batch {
	b := &batch{}
	for _, element := range elements {
		if m, err := decode(element); err != nil || m.id != nil && !m.isResponse() {
			b.missing++
		}
	}
	return b
}

// add takes one answer and returns the whole array with the last one.
func (b *batch) add(answer []byte) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answers = append(b.answers, answer)
	if b.missing--; b.missing > 0 {
		return nil
	}
	return append(append([]byte{'['}, bytes.Join(b.answers, []byte{','})...), ']')
}
