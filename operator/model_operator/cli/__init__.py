"""`kubectl md`: what release engineers and pipelines type. A client of the API alone: it asks the
operator for nothing but what the resource's spec, its status and the action annotation say.
"""
