"""AWS Bedrock: Converse, and Titan by InvokeModel."""
