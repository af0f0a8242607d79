package event

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/glassbox-dev/glassbox/internal/jsontext"
)

// Events are written and read without reflection: every change of a name is one,
// on every node. The text is that of encoding/json, to which what is of another
// form is left.

// marshal is jsontext.Marshal of an event without an id.
func (e Event) marshal() (json.RawMessage, error) {
	const fields = 160 // the names of all, times and numbers
	b := append(make([]byte, 0, fields+len(e.Node)+len(e.Type)+len(e.Subject)+len(e.Data)+len(e.Why)), `{"id":"","time":"`...)
	b = e.Time.AppendFormat(b, time.RFC3339Nano)
	b = jsontext.AppendString(append(b, `","node":`...), e.Node)
	b = jsontext.AppendUint(b, `,"incarnation":`, e.Incarnation)
	if e.Seq != 0 {
		b = jsontext.AppendUint(b, `,"seq":`, e.Seq)
	}
	b = jsontext.AppendString(append(b, `,"type":`...), e.Type)
	b = jsontext.AppendString(append(b, `,"subject":`...), e.Subject)
	if len(e.Data) > 0 {
		buf := bytes.NewBuffer(append(b, `,"data":`...))
		if err := json.Compact(buf, e.Data); err != nil {
			return nil, err
		}
		b = buf.Bytes()
	}
	if e.Why != "" {
		b = jsontext.AppendString(append(b, `,"why":`...), e.Why)
	}
	return append(b, '}'), nil
}

// decode reads what marshal wrote; ok is false if raw is of another form. The event
// shares no memory with raw. Texts that are many events' are told by known.
func decode(raw []byte, known func(text []byte) string) (e Event, ok bool) {
	r := jsontext.NewReader(raw)
	r.Want(`{"id":"","time":`)
	quoted := r.Value()
	if r.Failed() || e.Time.UnmarshalJSON(quoted) != nil {
		return Event{}, false
	}
	r.Want(`,"node":`)
	e.Node = known(r.Text())
	r.Want(`,"incarnation":`)
	e.Incarnation = r.Uint()
	if r.Has(`,"seq":`) {
		e.Seq = r.Uint()
	}
	r.Want(`,"type":`)
	e.Type = known(r.Text())
	r.Want(`,"subject":`)
	e.Subject = string(r.Text())
	if r.Has(`,"data":`) {
		e.Data = bytes.Clone(r.Valid())
	}
	if r.Has(`,"why":`) {
		e.Why = known(r.Text())
	}
	r.Want(`}`)
	return e, r.OK()
}

// Texts that are kept once, however many events have them: types, nodes, the
// commonest reasons.
const (
	knownTexts = 256
	knownBytes = 40 // of one
)

// known returns a text, the same memory each time if it is short.
func (l *Log) known(text []byte) string {
	if s, ok := l.texts[string(text)]; ok {
		return s
	}
	s := string(text)
	if len(s) <= knownBytes && len(l.texts) < knownTexts {
		l.texts[s] = s
	}
	return s
}
