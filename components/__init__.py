"""What a person sees. Imports gradio and plotly, calls merge_core, does no maths on weights."""
