package exec

import (
	"errors"
	"hash/fnv"
	"sync"
)

// Range of the users that sandboxes are given: far above what people, services
// and containers are given (systemd(8) ends below 2147483648 and begins its dynamic
// ones at 61184; subordinate ids are handed out from 100000 on).
const (
	DefaultFirstUser = 900_000_000
	DefaultUsers     = 100_000_000
)

// users lends each sandbox a user of its own, which is also its group.
type users struct {
	first, count int

	mu      sync.Mutex
	lent    map[string]int // sandbox to user
	holders map[int]int    // how many programs hold a user
}

func newUsers(first, count int) *users {
	return &users{first: first, count: count, lent: make(map[string]int), holders: make(map[int]int)}
}

// lend returns the user of a sandbox, and how to give it back. All programs of a
// sandbox that live at the same time have the same one; no two sandboxes with
// living programs do. Which one is told by the sandbox's uid, so that two nodes on
// one machine hardly ever lend the same.
func (u *users) lend(sandbox string) (user int, giveBack func(), err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	user, known := u.lent[sandbox]
	if !known {
		if len(u.holders) >= u.count {
			return 0, nil, errors.New("all users for sandboxes are in use: give the node a larger range")
		}
		h := fnv.New64a()
		h.Write([]byte(sandbox))
		at := int(h.Sum64() % uint64(u.count))
		for u.holders[u.first+at] > 0 {
			at = (at + 1) % u.count
		}
		user = u.first + at
		u.lent[sandbox] = user
	}
	u.holders[user]++
	return user, func() { u.giveBack(sandbox, user) }, nil
}

func (u *users) giveBack(sandbox string, user int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.holders[user]--; u.holders[user] == 0 {
		removeIPC(func(other int) bool { return other == user }) // before another sandbox can have it
		delete(u.holders, user)
		delete(u.lent, sandbox)
	}
}
