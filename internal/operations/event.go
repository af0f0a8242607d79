package operations

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/glassbox-dev/glassbox/cluster/registry"
	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/event"
	"github.com/glassbox-dev/glassbox/internal/jsontext"
	"github.com/glassbox-dev/glassbox/internal/op"
)

// EventFilter picks events.
type EventFilter struct {
	Types   []string `json:"types" doc:"only these types, such as MemberFailed"`
	Subject string   `json:"subject" doc:"only those about this node, sandbox, process or name"`
	Topic   string   `json:"topic" doc:"the messages published to this topic, instead of events"`
	After   string   `json:"after" doc:"go on behind the event with this id; now begins at the end of the history, none at its beginning"`
}

// EventSubscribeParams says which events to be told.
type EventSubscribeParams struct {
	EventFilter
	Node string `json:"node" doc:"the node whose view is told; the one asked if not given"`
}

// EventListParams says which events to read.
type EventListParams struct {
	EventFilter
	Type   string `json:"type" doc:"only this type"`
	Limit  int    `json:"limit" default:"100" min:"1" max:"1000" doc:"at most this many"`
	WaitMS int64  `json:"wait_ms" min:"0" max:"20000" doc:"wait so long for the first one"`
}

// EventList is a page of a node's history, oldest first.
type EventList struct {
	Events []event.Event `json:"events"`
	Next   string        `json:"next"` // go on after this one
}

// Subscription names a stream of notifications on a connection.
type Subscription struct {
	ID string `json:"subscription" op:"required" doc:"as event.subscribe answered"`
}

func eventOps(d Deps) []*op.Op {
	return []*op.Op{
		op.Define(op.Spec{
			Name: "event.list", Summary: "Read a node's history of events", Method: http.MethodGet, Path: "/events",
			Command: "events", Effect: op.Read, Runs: op.Anywhere, Early: true, Timeout: 25 * time.Second,
			Description: "A node's history shows how it saw the other nodes, and everybody's sandbox, process and name events. " +
				"`node` shows another node's view. Events that were missed are told by an event of type `Gap`.\n\n" +
				"With `topic` these are the messages of `pubsub.publish`: events of type `Message`, the topic as subject, the message as data, " +
				"published by `node`. They are kept apart from the history, the newest 4096 of all topics and 4 MiB.",
			Examples: []op.Example{
				{Summary: "the oldest about a sandbox", Params: `{"subject":"pair","limit":1}`, Volatile: []string{"id", "next"}},
				{Summary: "the oldest messages of a topic", Params: `{"topic":"shop/orders","limit":1}`, Volatile: []string{"id", "next"}},
			},
		}, d.listEvents, op.Followed("events", "id")),
		op.Define(op.Spec{
			Name: "event.subscribe", Summary: "Be told of events as they happen", Method: http.MethodGet, Path: "/events/stream",
			Effect: op.Read, Runs: op.Anywhere, Early: true, StreamOf: "event.list",
			Description: "On a WebSocket or TCP connection each event comes as a notification `event` with the subscription's id; `end` tells " +
				"that it is over. Over REST this is an event stream (SSE) that resumes with `Last-Event-ID`. With `topic` it is a subscription to that " +
				"topic: begin at `now` to be told only of what is published from now on. Who reads too slowly is told by a `Gap` how much was missed.",
			Errors: []errs.Kind{errs.NotAcceptable, errs.RateLimited},
		}, func(ctx context.Context, in EventSubscribeParams) (Subscription, error) {
			subscriptions, err := op.SubscriptionsFrom(ctx)
			if err != nil {
				return Subscription{}, err
			}
			if _, err := d.logOf(in.EventFilter); err != nil {
				return Subscription{}, err
			}
			params, err := jsontext.Marshal(in.given())
			if err != nil {
				return Subscription{}, err
			}
			id, err := subscriptions.Add(op.Request{Method: "event.list", Params: params, Caller: op.CallerFrom(ctx)})
			return Subscription{id}, err
		}),
		op.Define(op.Spec{
			Name: "event.unsubscribe", Summary: "End a subscription of this connection", Method: http.MethodPost, Path: "/events/unsubscribe",
			Effect: op.Read, Runs: op.Anywhere, Early: true, Errors: []errs.Kind{errs.NotFound, errs.NotAcceptable},
		}, func(ctx context.Context, in Subscription) (*struct{}, error) {
			subscriptions, err := op.SubscriptionsFrom(ctx)
			if err != nil {
				return nil, err
			}
			return nil, subscriptions.Remove(in.ID)
		}),
	}
}

// given returns the parameters without what was not given.
func (f EventSubscribeParams) given() map[string]any {
	m := map[string]any{}
	if f.Node != "" {
		m["node"] = f.Node
	}
	if len(f.Types) > 0 {
		m["types"] = f.Types
	}
	if f.Subject != "" {
		m["subject"] = f.Subject
	}
	if f.Topic != "" {
		m["topic"] = f.Topic
	}
	if f.After != "" {
		m["after"] = f.After
	}
	return m
}

func (d Deps) listEvents(ctx context.Context, in EventListParams) (EventList, error) {
	if in.WaitMS > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(in.WaitMS)*time.Millisecond)
		defer cancel()
	}
	if in.Type != "" {
		in.Types = append(in.Types, in.Type)
	}
	log, err := d.logOf(in.EventFilter)
	if err != nil {
		return EventList{}, err
	}
	page, err := log.Read(ctx, in.After, event.Filter{Types: in.Types, Subject: cmp.Or(in.Topic, in.Subject)}, in.Limit, in.WaitMS > 0)
	return EventList{page.Events, page.Next}, err
}

// logOf picks between events and messages.
func (d Deps) logOf(f EventFilter) (*event.Log, error) {
	switch {
	case f.Topic == "":
		return d.Events, nil
	case f.Subject != "":
		return nil, errs.BadParam("subject", "the subject of a message is its topic; give one of subject and topic")
	default:
		return d.Topics, registry.ValidName("topic", f.Topic)
	}
}
