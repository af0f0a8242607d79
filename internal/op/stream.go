package op

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/jsontext"
)

// afterParam says behind which item of a followed operation to go on.
const afterParam = "after"

// pollWait is how long one read of a stream waits for something to come.
const pollWait = 10 * time.Second

type streamSpec struct{ items, cursor string }

// Followed marks an operation whose result is a page of a growing sequence, so
// that it can be followed as a stream. The page is an object with the items
// under the first name; each item carries its position under the second, which
// can be passed as the parameter after; next is the position to go on from,
// and end is true when nothing more can come. A member of the page that is
// named as a parameter takes its place in the next read. The parameter wait_ms
// makes a read wait for the first item.
//
// Streams are thus pulled, one page at a time, also from another node: a slow
// reader holds up nobody, and one that is gone has nothing to cancel but its
// context.
func Followed(items, cursor string) Option {
	return func(o *Op) { o.stream = &streamSpec{items, cursor} }
}

// Followed reports whether the operation can be followed with [Table.Stream].
func (o *Op) Followed() bool { return o.stream != nil || o.StreamOf != "" }

// Item is one item of a stream.
type Item struct {
	Cursor string // where to go on after it
	Value  json.RawMessage
}

// Stream follows an operation: it calls emit with each item until the context
// ends, the sequence does, emit fails or a read does. It returns nil at the
// end of the sequence.
func (t *Table) Stream(ctx context.Context, req Request, emit func(Item) error) error {
	o, err := t.Op(req.Method)
	if err != nil {
		return err
	}
	if o.StreamOf != "" {
		req.Method = o.StreamOf
		return t.Stream(ctx, req, emit)
	}
	if o.stream == nil {
		return errs.New(errs.NotAcceptable, "%s cannot be followed; call it instead", o.Name)
	}
	m, err := Members(req.Params)
	if err != nil {
		return err
	}
	m[waitParam] = json.RawMessage(fmt.Sprint(pollWait.Milliseconds()))
	if _, ok := m[timeoutParam]; !ok {
		m[timeoutParam] = json.RawMessage(fmt.Sprint((pollWait + DefaultTimeout).Milliseconds()))
	}
	for ctx.Err() == nil {
		end, err := t.page(ctx, o, req, m, emit)
		if err != nil || end {
			return err
		}
	}
	return ctx.Err()
}

// page reads and emits one page and moves the cursor behind it.
func (t *Table) page(ctx context.Context, o *Op, req Request, m map[string]json.RawMessage, emit func(Item) error) (end bool, err error) {
	if req.Params, err = jsontext.Marshal(m); err != nil {
		return true, err
	}
	raw, err := t.Invoke(ctx, req)
	if err != nil {
		return true, err
	}
	var page map[string]json.RawMessage
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &page); err != nil {
		return true, errs.Wrap(errs.Internal, err, "a page of %s cannot be read", o.Name)
	}
	if err := json.Unmarshal(page[o.stream.items], &items); err != nil {
		return true, errs.Wrap(errs.Internal, err, "the items of %s cannot be read", o.Name)
	}
	for _, item := range items {
		cursor, err := o.stream.cursorOf(item)
		if err != nil {
			return true, err
		}
		if err := emit(Item{cursor, item}); err != nil {
			return true, err
		}
	}
	for name := range m {
		if value, ok := page[name]; ok {
			m[name] = value
		}
	}
	if next, ok := page["next"]; ok {
		m[afterParam] = next
	}
	return string(page["end"]) == "true", nil
}

func (s *streamSpec) cursorOf(item json.RawMessage) (string, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(item, &fields); err != nil {
		return "", errs.Wrap(errs.Internal, err, "an item of a stream cannot be read")
	}
	raw := fields[s.cursor]
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text, nil
	}
	return string(raw), nil
}
