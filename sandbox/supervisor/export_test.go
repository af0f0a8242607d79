package supervisor

// Waiting is how many messages have come that the supervisor has not seen.
func (s *Supervisor) Waiting() int {
	s.inbox.mu.Lock()
	defer s.inbox.mu.Unlock()
	return len(s.inbox.queue)
}

// Gone is closed when the supervisor has ended.
func (s *Supervisor) Gone() <-chan struct{} { return s.ended }
