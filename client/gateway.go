package client

import (
	"context"
	"encoding/json"
	"net/http"
)

// Gateway calls the JSON gateway of an etcd v3 at this path with in, and decodes its answer. It is the way out of v2.
func (c *Client) Gateway(ctx context.Context, path string, in, into any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	_, err = c.do(ctx, call{method: http.MethodPost, path: path, kind: kindJSON, body: string(body), into: into})
	return err
}
