package server

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/fault"
)

// Faults is the faults of the cloud.
type Faults struct {
	Faults []fault.Fault `json:"faults"`
}

func (s *Server) faultRoutes(handle handle) {
	handle("GET /v1/faults", func(*http.Request) (any, error) { return Faults{s.faults.List()}, nil })
	handle("POST /v1/faults", func(r *http.Request) (any, error) {
		var f fault.Fault
		if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, 4<<10)).Decode(&f); err != nil {
			return nil, arm.BadRequest("InvalidRequestContent", "The body is not a fault: %s.", err)
		}
		f, err := s.faults.Add(r.Context(), f)
		if errors.Is(err, fault.ErrInvalid) {
			return nil, arm.BadRequest("InvalidFault", "%s", err)
		}
		return f, err
	})
	remove := func(r *http.Request) (any, error) {
		err := s.faults.Remove(r.Context(), r.PathValue("id"))
		if errors.Is(err, fault.ErrNotFound) {
			return nil, arm.Errorf(http.StatusNotFound, "FaultNotFound", "There is no fault '%s'.", r.PathValue("id"))
		}
		return Faults{s.faults.List()}, err
	}
	handle("DELETE /v1/faults/{id}", remove)
	handle("DELETE /v1/faults", remove)
}
