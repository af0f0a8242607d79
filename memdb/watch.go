package memdb

import "sync"

// moment is how long a state is the newest one. Whoever waits for its end makes
// the channel; most states pass with nobody waiting.
type moment struct {
	mu   sync.Mutex
	end  chan struct{}
	over bool
}

func (m *moment) pass() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.over = true
	if m.end != nil {
		close(m.end)
	}
}

func (m *moment) passed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.end == nil {
		m.end = make(chan struct{})
		if m.over {
			close(m.end)
		}
	}
	return m.end
}

// Changed is closed once the view is not the newest state any more. Changes
// coalesce: it is for waiting, not a log. In a transaction that writes it is nil.
func (v View) Changed() <-chan struct{} {
	if v.moment == nil {
		return nil
	}
	return v.moment.passed()
}
