package operations

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/glassbox-dev/glassbox/cluster/registry"
	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/jsontext"
	"github.com/glassbox-dev/glassbox/internal/op"
	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox"
)

// Names is the registry as the operations see it.
type Names interface {
	Register(ctx context.Context, r registry.Register) (claim memdb.Claim, created bool, err error)
	Unregister(ctx context.Context, name, why string) error
	Lookup(ctx context.Context, name string, consistent bool) (memdb.Claim, error)
}

// NameParams names a name.
type NameParams struct {
	Name string `json:"name" op:"required" doc:"1 to 255 bytes of UTF-8 without control characters; / is allowed"`
}

// RegisterParams says what to register.
type RegisterParams struct {
	NameParams
	Value   json.RawMessage `json:"value" doc:"any JSON of at most 64 KiB, nested at most 512 deep; none is null"`
	PID     string          `json:"pid" doc:"the process that is to hold it; the name goes with it. Without one the node asked holds it"`
	Replace bool            `json:"replace" doc:"give a name that the same holder has already another value"`
}

// LookupParams says which name to look up, and how.
type LookupParams struct {
	NameParams
	Consistent bool  `json:"consistent" doc:"ask all members for their own claims, instead of what has come from them"`
	WaitMS     int64 `json:"wait_ms" min:"0" max:"20000" doc:"if nobody holds it, wait so long for somebody who does"`
}

// NameListParams filters the list of names.
type NameListParams struct {
	Prefix string `json:"prefix" doc:"only those that begin so"`
	Node   string `json:"node" doc:"only those that this node or its processes hold"`
	pageParams
}

// HeldName is who holds a name.
type HeldName struct {
	Name       string          `json:"name"`
	Holder     Holder          `json:"holder"`
	Value      json.RawMessage `json:"value"`
	Epoch      uint64          `json:"epoch"`
	Registered time.Time       `json:"registered"`
}

// Holder is a node, a process of it, or the slot of a child.
type Holder struct {
	Node string `json:"node"`
	PID  string `json:"pid,omitempty"` // of a slot: the process that is in it now, if any is
	// Sandbox and Child name the slot that holds it, whatever process is in it.
	Sandbox string `json:"sandbox,omitempty"`
	Child   string `json:"child,omitempty"`
}

// Registered is a name and whether this request made it so.
type Registered struct {
	HeldName
	Created  bool `json:"created"`  // false: the same holder had it already
	Replaced bool `json:"replaced"` // with another value, which has been replaced
}

// NameList is a page of names, sorted.
type NameList struct {
	Names []HeldName `json:"names"`
	Next  string     `json:"next,omitempty"`
}

// NameEvent is the data of an event about a name.
type NameEvent struct {
	Holder Holder  `json:"holder"`
	Epoch  uint64  `json:"epoch"`
	Winner *Holder `json:"winner,omitempty"` // of a conflict; the holder is the loser
}

// NameEventOf makes the data of an event.
func NameEventOf(e registry.Event) NameEvent {
	data := NameEvent{Holder: holderOf(e.Claim), Epoch: e.Claim.Epoch}
	if e.Winner != nil {
		winner := holderOf(*e.Winner)
		data.Winner = &winner
	}
	return data
}

func holderOf(c memdb.Claim) Holder { return Holder{c.Node, c.PID, c.Sandbox, c.Child} }

// nameOf tells who holds a name; of a slot also which process is in it now.
func nameOf(v memdb.View, c memdb.Claim) HeldName {
	if c.Child != "" {
		p, _ := v.ProcessOf(c.Node, c.Sandbox, c.Child)
		c.PID = p.PID
	}
	value := c.Value
	if len(value) == 0 {
		value = json.RawMessage("null")
	}
	return HeldName{c.Name, holderOf(c), value, c.Epoch, c.Registered()}
}

// AppendJSON writes what jsontext.Marshal would. The value is compact, as it is
// kept.
func (n HeldName) AppendJSON(b []byte) []byte { return append(n.appendMembers(b), '}') }

// AppendJSON writes what jsontext.Marshal would.
func (r Registered) AppendJSON(b []byte) []byte {
	b = strconv.AppendBool(append(r.appendMembers(b), `,"created":`...), r.Created)
	return append(strconv.AppendBool(append(b, `,"replaced":`...), r.Replaced), '}')
}

func (n HeldName) appendMembers(b []byte) []byte {
	b = jsontext.AppendString(append(b, `{"name":`...), n.Name)
	b = n.Holder.AppendJSON(append(b, `,"holder":`...))
	b = append(append(b, `,"value":`...), n.Value...)
	b = jsontext.AppendUint(b, `,"epoch":`, n.Epoch)
	return append(n.Registered.AppendFormat(append(b, `,"registered":"`...), time.RFC3339Nano), '"')
}

// AppendJSON writes what jsontext.Marshal would.
func (h Holder) AppendJSON(b []byte) []byte {
	b = jsontext.AppendString(append(b, `{"node":`...), h.Node)
	if h.PID != "" {
		b = jsontext.AppendString(append(b, `,"pid":`...), h.PID)
	}
	if h.Sandbox != "" {
		b = jsontext.AppendString(append(b, `,"sandbox":`...), h.Sandbox)
	}
	if h.Child != "" {
		b = jsontext.AppendString(append(b, `,"child":`...), h.Child)
	}
	return append(b, '}')
}

// AppendJSON writes what jsontext.Marshal would.
func (e NameEvent) AppendJSON(b []byte) []byte {
	b = e.Holder.AppendJSON(append(b, `{"holder":`...))
	b = jsontext.AppendUint(b, `,"epoch":`, e.Epoch)
	if e.Winner != nil {
		b = e.Winner.AppendJSON(append(b, `,"winner":`...))
	}
	return append(b, '}')
}

func registryOps(d Deps) []*op.Op {
	return []*op.Op{
		op.Define(op.Spec{
			Name: "registry.register", Summary: "Register a name in the whole cluster", Method: http.MethodPut, Path: "/registry/:name",
			Command: "registry register NAME [VALUE]", Effect: op.Write, Runs: op.OnOwner, Status: http.StatusCreated,
			Description: "The answer comes when all members that are alive, or suspected and not yet judged, have acknowledged it: from then " +
				"on every lookup on every node finds it. While no member is missing a name has one holder. A name that is held with a pid goes with its " +
				"process, any name with its node.\n\n" +
				"The same holder may repeat it: that is a success with `created: false`, and 200 instead of 201 over REST. Another value is a `conflict`, " +
				"unless `replace` is given. Values are compared as text without white space: another order of members, `1.0` for `1` or an escape " +
				"in place of a character is another value. `name_taken` names the holder. After a `timeout` the claim is withdrawn; look who holds the name.",
			Errors: []errs.Kind{errs.NameTaken, errs.Conflict},
			Examples: []op.Example{
				{Summary: "a name of the node", Params: `{"name":"shop/cache","value":{"port":6379}}`, Volatile: []string{"registered"}},
				{Summary: "a name of a process", Params: `{"name":"shop/printer","pid":"${pid}"}`, Volatile: []string{"registered", "pid"}},
			},
		}, d.register, op.Owner(d.claimant)),
		op.Define(op.Spec{
			Name: "registry.lookup", Summary: "Find who holds a name", Method: http.MethodGet, Path: "/registry/:name",
			Command: "registry lookup NAME", Effect: op.Read, Runs: op.Anywhere,
			Description: "Answered from what the node knows; it asks the holder only when it does not know yet whether the claim is confirmed. " +
				"Such an answer may lag behind a write in flight, never behind one that returned. With `consistent` no two answers contradict each other, " +
				"whoever is asked. With `wait_ms` a name that nobody holds yet is waited for; a node lets another one have a bounded number " +
				"of requests that wait, the rest are `rate_limited`.",
			Errors: []errs.Kind{errs.NotFound},
			Examples: []op.Example{
				{Summary: "one", Params: `{"name":"shop/cache"}`, Volatile: []string{"registered"}},
				{Summary: "one, by asking all", Params: `{"name":"shop/printer","consistent":true}`, Volatile: []string{"registered", "pid"}},
			},
		}, d.lookup),
		op.Define(op.Spec{
			Name: "registry.unregister", Summary: "Give a name up", Method: http.MethodDelete, Path: "/registry/:name",
			Command: "registry unregister NAME", Effect: op.Destructive, Runs: op.OnOwner, Status: http.StatusNoContent,
			Description: "Done by its holder's node, whichever is asked. The answer comes when all members have acknowledged it. " +
				"The name of a sandbox's child is a `conflict`: it is its slot's until the sandbox is destroyed.",
			Errors:   []errs.Kind{errs.NotFound, errs.Conflict},
			Examples: []op.Example{{Summary: "one", Params: `{"name":"shop/cache"}`}},
		}, d.unregister, op.Owner(func(ctx context.Context, in NameParams) (string, error) {
			claim, err := d.lookup(ctx, LookupParams{NameParams: in})
			return claim.Holder.Node, err
		})),
		op.Define(op.Spec{
			Name: "registry.list", Summary: "List the names that are held", Method: http.MethodGet, Path: "/registry",
			Command: "registry list", Effect: op.Read, Runs: op.Anywhere,
			Description: "Names whose claim is not known as confirmed yet are not among them: one that another node registered just now may come some " +
				"milliseconds later. `registry.lookup` never lags so.",
			Errors:   []errs.Kind{errs.NotFound},
			Examples: []op.Example{{Summary: "those of a shop", Params: `{"prefix":"shop/","limit":10}`, Volatile: []string{"registered", "pid"}}},
		}, d.listNames),
	}
}

// valid is asked for twice: by the node asked, and by the one that `node` names.
func (in RegisterParams) valid() error {
	if err := registry.ValidName("name", in.Name); err != nil {
		return err
	}
	return registry.ValidValue("value", in.Value)
}

// claimant is the node that writes the claim: the process's.
func (d Deps) claimant(_ context.Context, in RegisterParams) (string, error) {
	if err := in.valid(); err != nil {
		return "", err
	}
	if in.PID == "" {
		return d.Self, nil
	}
	node, ok := sandbox.NodeOfPID(in.PID)
	if _, runs := d.DB.View().Process(in.PID); !ok || !runs {
		return "", errs.BadParam("pid", "no process %q on any node; process.list shows which there are", in.PID)
	}
	return node, nil
}

func (d Deps) register(ctx context.Context, in RegisterParams) (Registered, error) {
	if err := in.valid(); err != nil {
		return Registered{}, err
	}
	before, had := d.DB.View().Claim(in.Name, d.Self)
	claim, changed, err := d.Names.Register(ctx, registry.Register{Name: in.Name, PID: in.PID, Value: compact(in.Value), Replace: in.Replace})
	if err != nil {
		return Registered{}, err
	}
	replaced := changed && had && before.Stamp == claim.Stamp // a claim keeps its stamp
	return Registered{nameOf(d.DB.View(), claim), changed && !replaced, replaced}, nil
}

// compact leaves out the white space, in memory of its own: what is kept must not
// keep the request that it came in. Values are compared by this text. Null is no
// value.
func compact(value json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	if len(value) == 0 || json.Compact(&b, value) != nil || b.String() == "null" {
		return nil
	}
	return bytes.Clone(b.Bytes())
}

func (d Deps) lookup(ctx context.Context, in LookupParams) (HeldName, error) {
	if err := registry.ValidName("name", in.Name); err != nil {
		return HeldName{}, err
	}
	claim, err := d.Names.Lookup(ctx, in.Name, in.Consistent)
	if in.WaitMS > 0 && errs.KindOf(err) == errs.NotFound {
		claim, err = d.awaitName(ctx, in)
	}
	if err != nil {
		return HeldName{}, err
	}
	return nameOf(d.DB.View(), claim), nil
}

// awaitName waits until somebody holds a name, or nobody did for as long as is to
// be waited. While no claim to it is to be seen here nobody is asked.
func (d Deps) awaitName(ctx context.Context, in LookupParams) (memdb.Claim, error) {
	wait, cancel := context.WithTimeout(ctx, time.Duration(in.WaitMS)*time.Millisecond)
	defer cancel()
	for {
		view := d.DB.View() // before it is looked at: nothing is missed between
		if _, seen := view.Holder(in.Name); seen {
			claim, err := d.Names.Lookup(ctx, in.Name, in.Consistent)
			if errs.KindOf(err) != errs.NotFound {
				return claim, err
			}
		}
		select {
		case <-view.Changed():
		case <-wait.Done():
			if err := ctx.Err(); err != nil {
				return memdb.Claim{}, cutShort(err, in.Name)
			}
			return d.Names.Lookup(ctx, in.Name, in.Consistent)
		}
	}
}

// cutShort is the error of a wait that has ended too early to say that nobody holds
// the name.
func cutShort(err error, name string) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return errs.Wrap(errs.Timeout, err, "timeout_ms was over before wait_ms, and nobody held the name %q yet", name)
	}
	e := errs.Wrap(errs.NotReady, err, "the wait for the name %q was cut short; ask again, or ask another node", name)
	e.Unsure = true
	return e
}

// unregister answers nothing: HTTP's 204.
func (d Deps) unregister(ctx context.Context, in NameParams) (*struct{}, error) {
	if err := registry.ValidName("name", in.Name); err != nil {
		return nil, err
	}
	if own, has := d.DB.View().Claim(in.Name, d.Self); has && own.Child != "" {
		return nil, errs.New(errs.Conflict, "the name %q is that of child %q of sandbox %q; it goes when the sandbox is destroyed", in.Name, own.Child, own.Sandbox)
	}
	return nil, d.Names.Unregister(ctx, in.Name, "by request")
}

func (d Deps) listNames(_ context.Context, in NameListParams) (NameList, error) {
	if err := d.knownNode(in.Node); err != nil {
		return NameList{}, err
	}
	list := NameList{Names: []HeldName{}}
	view := d.DB.View()
	for claim := range view.Holders(in.Prefix, in.Cursor) {
		switch {
		case !claim.Confirmed || registry.Reserved(claim.Name) || in.Node != "" && claim.Node != in.Node:
		case len(list.Names) == in.Limit:
			list.Next = list.Names[in.Limit-1].Name
			return list, nil
		default:
			list.Names = append(list.Names, nameOf(view, claim.Claim))
		}
	}
	return list, nil
}
