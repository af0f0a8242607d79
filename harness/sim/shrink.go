package sim

import "time"

// Shrink leaves out of a failing plan whatever it fails without: first the acts
// behind the one that fails, then halves, quarters … of the faults and operations
// (delta debugging, Zeller and Hildebrandt 2002). It ends when nothing more can be
// left out, or the time is over.
func Shrink(p Plan, patience time.Duration) Plan {
	end := time.Now().Add(patience)
	fails := func(p Plan) bool {
		if time.Now().After(end) {
			return false
		}
		o, err := Run(p)
		return err == nil && !o.Passed()
	}
	for n := 1; n < len(p.Acts); n++ {
		if q := p.without(func(part) bool { return false }); fails(q.upTo(n)) {
			p = q.upTo(n)
			break
		}
	}
	for size := p.size() / 2; size >= 1; size /= 2 {
		for from := 0; from < p.size(); {
			q := p.without(func(at part) bool { return int(at) >= from && int(at) < from+size })
			if fails(q) {
				p = q // what follows has moved here
				continue
			}
			from += size
		}
	}
	return p
}

// part is the place of a fault or an operation in the whole plan.
type part int

func (p Plan) size() int {
	n := 0
	for _, a := range p.Acts {
		n += len(a.Faults) + len(a.Ops)
	}
	return n + len(p.Links)
}

func (p Plan) upTo(acts int) Plan {
	p.Acts = p.Acts[:acts]
	return p
}

// without returns a copy that lacks some parts.
func (p Plan) without(lacks func(part) bool) Plan {
	at := part(0)
	keep := func() bool {
		at++
		return !lacks(at - 1)
	}
	q := p
	q.Links, q.Acts = nil, nil
	for _, l := range p.Links {
		if keep() {
			q.Links = append(q.Links, l)
		}
	}
	for _, a := range p.Acts {
		b := a
		b.Faults, b.Ops = nil, nil
		for _, f := range a.Faults {
			if keep() {
				b.Faults = append(b.Faults, f)
			}
		}
		for _, o := range a.Ops {
			if keep() {
				b.Ops = append(b.Ops, o)
			}
		}
		q.Acts = append(q.Acts, b)
	}
	return q
}
