package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
)

const pathBackup = "/v2/admin/snapshot"

// Backup is the whole state of a cluster as one file, which is read as it comes. The file proves at its end that it is whole.
type Backup struct {
	io.ReadCloser
	Index   uint64 // X-Etcd-Index
	Cluster uint64
}

// Backup asks one endpoint after the other for a backup, which holds all that was acknowledged before the call. ctx ends the
// reading of it, too. With users it needs those of root.
func (c *Client) Backup(ctx context.Context) (*Backup, error) {
	var failed ClusterError
	for _, endpoint := range c.Endpoints() {
		b, err := c.backupOf(ctx, endpoint)
		if err == nil || isFinal(err) {
			return b, err
		}
		failed.Failures = append(failed.Failures, Failure{endpoint, err})
		if ctx.Err() != nil {
			break
		}
		c.leave(endpoint)
	}
	return nil, &failed
}

func (c *Client) backupOf(ctx context.Context, endpoint string) (*Backup, error) {
	what := &call{method: http.MethodGet, path: pathBackup}
	request, err := c.request(ctx, endpoint, what)
	if err != nil {
		return nil, err
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	if answer.StatusCode != http.StatusOK {
		err := c.read(answer, what)
		if answer.StatusCode == http.StatusNotFound {
			err = fmt.Errorf("it makes no backups: it is no canopy, or an older one (%s)", http.StatusText(answer.StatusCode))
		}
		return nil, errors.Join(err, answer.Body.Close())
	}
	return &Backup{answer.Body, indexOf(answer.Header), clusterOf(answer.Header)}, nil
}
