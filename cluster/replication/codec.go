package replication

import (
	"encoding/json"
	"strconv"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/jsontext"
	"github.com/glassbox-dev/glassbox/memdb"
)

// The messages that carry rows and events are written and read without
// reflection. The text is that of encoding/json, to which everything of another
// form is left.

// Encode writes the parameters of a call as JSON if it knows how to do so
// quickly; otherwise it returns them as they are.
func Encode(params any) any {
	switch p := params.(type) {
	case *Push:
		return json.RawMessage(p.Append(make([]byte, 0, sizeOf(p.Changes))))
	case *Chunk:
		return p.encode()
	case *Publication:
		return p.encode()
	default:
		return params
	}
}

// Decode reads the parameters of a method, which must be valid JSON. They may
// share raw's memory.
func Decode(method string, raw json.RawMessage) (any, error) {
	params := Params(method)
	if params == nil {
		return nil, errs.New(errs.MethodNotFound, "no such method of replication; the nodes may be of different versions")
	}
	if p, ok := params.(interface{ Read(raw []byte) bool }); ok && p.Read(raw) {
		return params, nil
	}
	params = Params(method) // a failed read may have left something
	return params, json.Unmarshal(raw, params)
}

// sizeOf is about what changes take in a message.
func sizeOf(changes []memdb.Change) int {
	n := 128
	for _, c := range changes {
		n += c.Size()
	}
	return n
}

func (c *Chunk) encode() json.RawMessage {
	b := jsontext.AppendString(append(make([]byte, 0, sizeOf(c.Rows)), `{"origin":`...), c.Origin)
	b = jsontext.AppendUint(b, `,"position":{"incarnation":`, c.Position.Incarnation)
	b = append(jsontext.AppendUint(b, `,"seq":`, c.Position.Seq), '}')
	if c.Confirmed != 0 {
		b = jsontext.AppendUint(b, `,"confirmed":`, c.Confirmed)
	}
	b = jsontext.AppendUint(b, `,"index":`, uint64(c.Index))
	b = strconv.AppendBool(append(b, `,"last":`...), c.Last)
	if len(c.Rows) > 0 {
		b = memdb.AppendChanges(append(b, `,"rows":`...), c.Rows)
	}
	return append(b, '}')
}

// Read reads what encode wrote; it reports whether raw is of that form. The rows
// are parts of raw.
func (c *Chunk) Read(raw []byte) bool {
	r := jsontext.NewReader(raw)
	r.Want(`{"origin":`)
	c.Origin = string(r.Text())
	r.Want(`,"position":{"incarnation":`)
	c.Position.Incarnation = r.Uint()
	r.Want(`,"seq":`)
	c.Position.Seq = r.Uint()
	r.Want(`}`)
	if r.Has(`,"confirmed":`) {
		c.Confirmed = r.Uint()
	}
	r.Want(`,"index":`)
	index := r.Uint()
	c.Index = int(min(index, maxStagedRows)) // no snapshot has more chunks than rows
	r.Want(`,"last":`)
	if c.Last = r.Has(`true`); !c.Last {
		r.Want(`false`)
	}
	if r.Has(`,"rows":`) {
		c.Rows = memdb.ReadChanges(r)
	}
	r.Want(`}`)
	return r.OK() && index <= maxStagedRows
}

func (p *Publication) encode() json.RawMessage {
	size := 128
	for _, entry := range p.Entries {
		size += len(entry) + 1
	}
	b := jsontext.AppendString(append(make([]byte, 0, size), `{"feed":`...), p.Feed)
	b = jsontext.AppendUint(b, `,"incarnation":`, p.Incarnation)
	b = jsontext.AppendUint(b, `,"from":`, p.From)
	if p.Missed != 0 {
		b = jsontext.AppendUint(b, `,"missed":`, p.Missed)
	}
	for i, entry := range p.Entries {
		if i == 0 {
			b = append(b, `,"entries":[`...)
		} else {
			b = append(b, ',')
		}
		b = append(b, entry...)
	}
	if len(p.Entries) > 0 {
		b = append(b, ']')
	}
	return append(b, '}')
}

// Read reads what encode wrote; it reports whether raw is of that form. The
// entries are parts of raw.
func (p *Publication) Read(raw []byte) bool {
	r := jsontext.NewReader(raw)
	r.Want(`{"feed":`)
	p.Feed = string(r.Text())
	r.Want(`,"incarnation":`)
	p.Incarnation = r.Uint()
	r.Want(`,"from":`)
	p.From = r.Uint()
	if r.Has(`,"missed":`) {
		p.Missed = r.Uint()
	}
	if r.Has(`,"entries":[`) {
		for !r.Failed() && !r.Has(`]`) {
			if len(p.Entries) > 0 {
				r.Want(`,`)
			}
			p.Entries = append(p.Entries, r.Value())
		}
	}
	r.Want(`}`)
	return r.OK()
}
