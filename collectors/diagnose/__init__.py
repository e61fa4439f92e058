"""Why a request was slow. Pure: a request and what surrounds it in, values out."""
