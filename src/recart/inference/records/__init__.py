"""What is told of each new patient to other programmes: JSON with a schema, and HL7 FHIR."""
