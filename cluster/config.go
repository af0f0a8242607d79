package cluster

import (
	"maps"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// Config is what a node knows before it knows anybody. Take one from [Preset].
type Config struct {
	Cluster string            // the cluster's name; nodes of others are refused
	Self    string            // this node's name
	Addr    string            // host:port that the others are told to reach this node at
	Peers   map[string]string // the static addresses of all other nodes

	// PingEvery is the time between two pings to a peer. A ping and its answer
	// are about 300 bytes.
	PingEvery time.Duration
	// SuspectAfter is how long a peer may leave pings unanswered before it is
	// suspected. Below 2 × PingEvery one lost packet is a suspicion.
	SuspectAfter time.Duration
	// DeadAfter is how long until it is declared dead. A node that froze is
	// thus known to be dead between DeadAfter − PingEvery and DeadAfter after
	// it did: the newest answer is up to PingEvery old at that moment. Too
	// small a value takes a loaded node for a dead one.
	DeadAfter time.Duration
	// AskTimeout is how long the others have to say whether they reach a peer
	// that refused a connection. Who does not answer counts as one who does
	// not reach it.
	AskTimeout time.Duration
	// SecondRefusal is when a refused dial is tried again if there is nobody
	// to ask.
	SecondRefusal time.Duration
	// RedialMin and RedialMax bound the time between two dials, which doubles
	// with each failure, less a random part of up to half.
	RedialMin, RedialMax time.Duration
	// HandshakeTimeout bounds dial and handshake together, and what an
	// accepted connection may take to say its first word.
	HandshakeTimeout time.Duration
	// StallAfter is how long a peer may answer pings without applying what
	// this node has sent it.
	StallAfter time.Duration
}

// presets are the three times of failure detection by kind of network.
var presets = map[string][3]time.Duration{ // ping, suspect, dead
	"local": {100 * time.Millisecond, 300 * time.Millisecond, 800 * time.Millisecond},
	"lan":   {500 * time.Millisecond, time.Second, 2500 * time.Millisecond},
	"wan":   {time.Second, 3 * time.Second, 10 * time.Second},
}

// Preset returns the defaults for a kind of network: local (one machine), lan
// or wan.
func Preset(name string) (Config, error) {
	times, ok := presets[name]
	if !ok {
		return Config{}, errs.BadParam("preset", "%q is none; there are %s", name, strings.Join(slices.Sorted(maps.Keys(presets)), ", "))
	}
	return Config{
		PingEvery: times[0], SuspectAfter: times[1], DeadAfter: times[2],
		AskTimeout: 50 * time.Millisecond, SecondRefusal: 20 * time.Millisecond,
		RedialMin: 10 * time.Millisecond, RedialMax: time.Second,
		HandshakeTimeout: max(times[1], time.Second), StallAfter: times[2],
	}, nil
}

// nameForm is what a node may be called: a DNS label, so that it can be a host
// name and a part of a pid.
var nameForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// Validate says what is wrong, naming the field; nil if nothing is.
func (c Config) Validate() error {
	if !nameForm.MatchString(c.Self) {
		return errs.BadParam("name", "%q cannot be a node's name; use 1 to 63 of a-z, 0-9 and \"-\", not at an end", c.Self)
	}
	if c.Cluster == "" {
		return errs.BadParam("cluster", "the cluster needs a name")
	}
	if _, _, err := net.SplitHostPort(c.Addr); err != nil {
		return errs.BadParam("advertise", "this node is at %q, which is no address; write HOST:PORT", c.Addr)
	}
	if err := c.validatePeers(); err != nil {
		return err
	}
	for _, t := range []struct {
		field string
		value time.Duration
	}{
		{"ping_every", c.PingEvery}, {"suspect_after", c.SuspectAfter}, {"dead_after", c.DeadAfter}, {"ask_timeout", c.AskTimeout},
		{"second_refusal", c.SecondRefusal}, {"redial_min", c.RedialMin}, {"redial_max", c.RedialMax},
		{"handshake_timeout", c.HandshakeTimeout}, {"stall_after", c.StallAfter},
	} {
		if t.value <= 0 {
			return errs.BadParam(t.field, "must be more than 0, not %s", t.value)
		}
	}
	if c.SuspectAfter <= c.PingEvery || c.DeadAfter <= c.SuspectAfter {
		return errs.BadParam("dead_after", "the times must grow: ping_every %s < suspect_after %s < dead_after %s", c.PingEvery, c.SuspectAfter, c.DeadAfter)
	}
	if c.RedialMax < c.RedialMin {
		return errs.BadParam("redial_max", "%s is less than redial_min, %s", c.RedialMax, c.RedialMin)
	}
	return nil
}

// advertised is the address that the others are told; "" if it is every address
// of this machine, which means another one to each: they keep the static one.
func (c Config) advertised() string {
	host, _, err := net.SplitHostPort(c.Addr)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return ""
	}
	return c.Addr
}

func (c Config) validatePeers() error {
	at := map[string]string{c.Addr: c.Self}
	for _, name := range slices.Sorted(maps.Keys(c.Peers)) {
		addr := c.Peers[name]
		if name == c.Self {
			return errs.BadParam("peers", "this node, %s, is listed at %s but is at %s itself; correct the address or leave it out", name, addr, c.Addr)
		}
		if !nameForm.MatchString(name) {
			return errs.BadParam("peers", "%q cannot be a node's name; use 1 to 63 of a-z, 0-9 and \"-\", not at an end", name)
		}
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return errs.BadParam("peers", "%s is at %q, which is no address; write HOST:PORT", name, addr)
		}
		if other, twice := at[addr]; twice {
			return errs.BadParam("peers", "%s and %s are both at %s; every node has an address of its own", other, name, addr)
		}
		at[addr] = name
	}
	return nil
}
