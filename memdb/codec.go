package memdb

import (
	"bytes"
	"encoding/json"

	"github.com/glassbox-dev/glassbox/internal/jsontext"
)

// Claims, and the changes that carry rows, are written and read without
// reflection: a name that is registered is written once and read by every peer.
// The text is that of encoding/json, and what is of another form is left to it.

// marshalClaim is jsontext.Marshal; ok is false if the value is no JSON.
func marshalClaim(c *Claim) (raw json.RawMessage, ok bool) {
	b := make([]byte, 0, 96+len(c.Name)+len(c.Node)+len(c.PID)+len(c.Sandbox)+len(c.Child)+len(c.Value))
	b = jsontext.AppendString(append(b, `{"name":`...), c.Name)
	b = jsontext.AppendString(append(b, `,"node":`...), c.Node)
	if c.PID != "" {
		b = jsontext.AppendString(append(b, `,"pid":`...), c.PID)
	}
	if c.Sandbox != "" {
		b = jsontext.AppendString(append(b, `,"sandbox":`...), c.Sandbox)
	}
	if c.Child != "" {
		b = jsontext.AppendString(append(b, `,"child":`...), c.Child)
	}
	if len(c.Value) > 0 {
		buf := bytes.NewBuffer(append(b, `,"value":`...))
		if json.Compact(buf, c.Value) != nil {
			return nil, false
		}
		b = buf.Bytes()
	}
	if c.Epoch != 0 {
		b = jsontext.AppendUint(b, `,"epoch":`, c.Epoch)
	}
	b = jsontext.AppendUint(b, `,"stamp":`, c.Stamp)
	b = jsontext.AppendUint(b, `,"since":`, c.Since)
	return append(b, '}'), true
}

// readClaim reads the row of a claim that must be name's and node's; ok is false
// if it is not, or of another form. It shares no memory with raw, and the name
// with its change.
func readClaim(raw []byte, name, node string) (c *Claim, ok bool) {
	r := jsontext.NewReader(raw)
	r.Want(`{"name":`)
	ok = string(r.Text()) == name
	r.Want(`,"node":`)
	ok = string(r.Text()) == node && ok
	if !ok || r.Failed() {
		return nil, false
	}
	c = &Claim{Name: name, Node: node}
	if r.Has(`,"pid":`) {
		c.PID = string(r.Text())
	}
	if r.Has(`,"sandbox":`) {
		c.Sandbox = string(r.Text())
	}
	if r.Has(`,"child":`) {
		c.Child = string(r.Text())
	}
	if r.Has(`,"value":`) {
		c.Value = bytes.Clone(r.Valid())
	}
	if r.Has(`,"epoch":`) {
		c.Epoch = r.Uint()
	}
	r.Want(`,"stamp":`)
	c.Stamp = r.Uint()
	r.Want(`,"since":`)
	c.Since = r.Uint()
	r.Want(`}`)
	return c, r.OK()
}

// AppendChanges appends an array of changes whose rows are this node's own, as
// jsontext.Marshal writes it.
func AppendChanges(b []byte, changes []Change) []byte {
	b = append(b, '[')
	for i, c := range changes {
		if i > 0 {
			b = append(b, ',')
		}
		b = jsontext.AppendUint(b, `{"seq":`, c.Seq)
		b = jsontext.AppendString(append(b, `,"table":`...), c.Table)
		b = jsontext.AppendString(append(b, `,"id":`...), c.ID)
		if c.Deleted {
			b = append(b, `,"deleted":true`...)
		}
		if len(c.Row) > 0 {
			b = append(append(b, `,"row":`...), c.Row...)
		}
		b = append(b, '}')
	}
	return append(b, ']')
}

// ReadChanges reads what AppendChanges wrote. The rows are parts of what is read.
func ReadChanges(r *jsontext.Reader) (changes []Change) {
	r.Want(`[`)
	for !r.Failed() && !r.Has(`]`) {
		if len(changes) > 0 {
			r.Want(`,`)
		}
		r.Want(`{"seq":`)
		c := Change{Seq: r.Uint()}
		r.Want(`,"table":`)
		c.Table = tableName(r.Text())
		r.Want(`,"id":`)
		c.ID = string(r.Text())
		c.Deleted = r.Has(`,"deleted":true`)
		if r.Has(`,"row":`) {
			c.Row = r.Value()
		}
		r.Want(`}`)
		changes = append(changes, c)
	}
	return changes
}

// tableName spares the memory of a name that is known.
func tableName(b []byte) string {
	for _, name := range replicated {
		if string(b) == name {
			return name
		}
	}
	return string(b)
}

// Append appends the batch as jsontext.Marshal writes it; its rows are this
// node's own.
func (b Batch) Append(to []byte) []byte {
	to = jsontext.AppendUint(to, `{"incarnation":`, b.Incarnation)
	to = jsontext.AppendUint(to, `,"from":`, b.From)
	if len(b.Changes) > 0 {
		to = AppendChanges(append(to, `,"changes":`...), b.Changes)
	}
	if b.Confirmed != 0 {
		to = jsontext.AppendUint(to, `,"confirmed":`, b.Confirmed)
	}
	return append(to, '}')
}

// Read reads what Append wrote; it reports whether raw is of that form. The rows
// are parts of raw.
func (b *Batch) Read(raw []byte) bool {
	r := jsontext.NewReader(raw)
	r.Want(`{"incarnation":`)
	b.Incarnation = r.Uint()
	r.Want(`,"from":`)
	b.From = r.Uint()
	if r.Has(`,"changes":`) {
		b.Changes = ReadChanges(r)
	}
	if r.Has(`,"confirmed":`) {
		b.Confirmed = r.Uint()
	}
	r.Want(`}`)
	return r.OK()
}
