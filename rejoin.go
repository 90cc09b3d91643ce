package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"canopy/etcdserver"
)

// answerMax bounds what is read of another member's answer, in bytes.
const answerMax = 1 << 20

// rejoin gives a member whose data is gone a new place in its cluster: what it
// was is removed, and it is added anew, as a learner. The other members do
// that, over the API that operators use.
func (p *peering) rejoin(ctx context.Context, was *etcdserver.Joined, cluster map[string][]string) (*etcdserver.Joined, error) {
	p.logger.Warnf("member %v has run before and its data is gone: it is removed, and added anew (--rejoin)", was.Self)
	var own etcdserver.MemberInfo
	var doors []string
	for _, m := range was.Members {
		if m.ID == was.Self {
			own = m
		} else {
			doors = append(doors, m.ClientURLs...)
		}
	}
	body, err := json.Marshal(map[string][]string{"peerURLs": own.PeerURLs})
	if err != nil {
		return nil, err
	}
	if err := p.change(ctx, doors, http.MethodDelete, "/v2/members/"+was.Self.String(), nil, http.StatusNoContent, http.StatusGone); err != nil {
		return nil, err
	}
	if err := p.change(ctx, doors, http.MethodPost, "/v2/members", body, http.StatusCreated, http.StatusConflict); err != nil {
		return nil, err
	}
	return p.join(ctx, cluster)
}

// change asks one member after the other to change the membership, until one
// has done it; 409 and 410 mean that it was done before.
func (p *peering) change(ctx context.Context, doors []string, method, path string, body []byte, done ...int) error {
	failures := []error{fmt.Errorf("--rejoin: no other member did %s %s", method, path)}
	for _, door := range doors {
		status, text, err := p.ask(ctx, method, door+path, body)
		if err != nil {
			failures = append(failures, err)
			continue
		}
		for _, each := range done {
			if status == each {
				return nil
			}
		}
		failures = append(failures, fmt.Errorf("%s answered %d %s", door, status, text))
	}
	return errors.Join(failures...)
}

func (p *peering) ask(ctx context.Context, method, url string, body []byte) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := p.client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, answerMax))
	return response.StatusCode, string(text), err
}
