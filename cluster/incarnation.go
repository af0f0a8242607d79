package cluster

import (
	"math/rand/v2"
	"time"
)

// An incarnation is one start of a node: the Unix time in milliseconds, then 12
// random bits, so that two starts in the same millisecond differ. It fits 53
// bits, which JSON keeps exactly. A later start is higher even if it knows
// nobody; the handshake raises it above what peers know, should the clock have
// been set back.
const randomBits = 12

func newIncarnation(now time.Time, r *rand.Rand) uint64 {
	return uint64(now.UnixMilli())<<randomBits | r.Uint64N(1<<randomBits)
}

// above returns an incarnation that is higher than a known one.
func above(known uint64, r *rand.Rand) uint64 {
	return (known>>randomBits+1)<<randomBits | r.Uint64N(1<<randomBits)
}
