package supervisor

import "sync"

// inbox takes what comes to a supervisor from other goroutines, in order. It
// holds one exit a child and one message or two a caller at most, so it needs
// no limit, and putting into it never waits.
type inbox struct {
	wake chan struct{} // has a token when something was put in

	mu    sync.Mutex
	queue []Input
}

func newInbox() *inbox { return &inbox{wake: make(chan struct{}, 1)} }

func (b *inbox) put(in Input) {
	b.mu.Lock()
	b.queue = append(b.queue, in)
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take returns all that came since.
func (b *inbox) take() []Input {
	b.mu.Lock()
	defer b.mu.Unlock()
	queue := b.queue
	b.queue = nil
	return queue
}
